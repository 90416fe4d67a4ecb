/** Views and wiping: the few moves on memory that every file here needs. */

/** The same memory as a plain `Uint8Array`: node hands out Buffers, we hand out bytes. */
export function asBytes(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

/** Overwrites temporaries that held secrets. Best effort, as SECURITY.md says of all wiping here. */
export function wipe(...temporaries: readonly (Uint8Array | Uint32Array)[]): void {
  for (const temporary of temporaries) temporary.fill(0);
}
