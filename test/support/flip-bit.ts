/** Decay, by hand. */
import { chmod, open, stat } from 'node:fs/promises';

/** Flips the lowest bit of one byte of a file, read-only or not. */
export async function flipBitInFile(path: string, at: number): Promise<void> {
  const { mode } = await stat(path);
  await chmod(path, 0o600);
  const file = await open(path, 'r+');
  try {
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, at);
    await file.write(Buffer.of(byte.readUInt8(0) ^ 1), 0, 1, at);
  } finally {
    await file.close();
    await chmod(path, mode & 0o777);
  }
}
