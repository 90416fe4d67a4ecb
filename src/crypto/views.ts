/** Views, wiping and letting go: the few moves on memory that every file here needs. */

/** The same memory as a plain `Uint8Array`: node hands out Buffers, we hand out bytes. */
export function asBytes(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

/** Overwrites temporaries that held secrets. Best effort, as SECURITY.md says of all wiping here. */
export function wipe(...temporaries: readonly (Uint8Array | Uint32Array)[]): void {
  for (const temporary of temporaries) temporary.fill(0);
}

/**
 * Gives memory back at once instead of when V8 comes to collect it, which for megabytes of ciphertext that
 * lie outside its heap is late. Only for what nobody looks at any more: every view of it is empty then.
 * A view of a part is left alone, because the rest is somebody else's.
 */
export function release(...spent: readonly (Uint8Array | Uint32Array)[]): void {
  for (const { buffer, byteLength } of spent) {
    if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
  }
}
