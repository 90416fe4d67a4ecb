/** Long work hands the thread back between batches, so that the doors keep answering. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
