/** Looks for planted bytes in the memory of a running process, as a debugger could, and in its core dump. */
import { type FileHandle, open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Planted, Search } from './planted.ts';
import { whoMayLook } from './processes.ts';

const PIECE_BYTES = 1024 * 1024;
const PAGE_BYTES = 4096;
const NOTHING = Buffer.alloc(PIECE_BYTES);

/** Why memory cannot be read here; undefined when it can. */
export const cannotReadMemory: string | undefined =
  whoMayLook() > (process.getuid?.() === 0 ? 2 : 1)
    ? 'this system lets this user read no memory of other processes (ptrace_scope)'
    : undefined;

/** Put before a command: its process may leave a core file in its working folder, as far as the system lets it. */
export const WITH_CORE_DUMPS = ['prlimit', '--core=unlimited', '--'];

/** @returns the names of what was found, in any readable mapping of the process. */
export async function searchMemory(
  pid: number,
  planted: readonly Planted[],
): Promise<readonly string[]> {
  const search = new Search(planted);
  const buffer = Buffer.alloc(PIECE_BYTES);
  await using memory = await open(`/proc/${pid}/mem`, 'r');
  for (const { start, end } of await readableMaps(pid)) {
    for (let at = start; at < end; ) {
      const room = buffer.subarray(0, Math.min(PIECE_BYTES, end - at));
      const piece = await readAt(memory, at, room);
      if (piece.length === 0) {
        // A page that nobody can read, such as a guard: there is nothing in it.
        search.gap();
        at += PAGE_BYTES;
        continue;
      }
      at += piece.length;
      // Most of what is reserved was never written. What begins before it could only end in its first bytes.
      if (NOTHING.subarray(0, piece.length).equals(piece)) {
        search.take(piece.subarray(0, PAGE_BYTES));
        search.gap();
      } else {
        search.take(piece);
      }
    }
    search.gap();
  }
  return search.found();
}

/** As much as there is from `at` on: a read ends where a page cannot be read. */
async function readAt(memory: FileHandle, at: number, room: Buffer): Promise<Uint8Array> {
  try {
    const { bytesRead } = await memory.read(room, 0, room.length, at);
    return room.subarray(0, bytesRead);
  } catch {
    // The very first page cannot be read.
    return new Uint8Array(0);
  }
}

/** @returns the core files below the folder, by whatever name the system gives them. */
export async function coresIn(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && entry.name.includes('core'));
  const paths = files.map((entry) => join(entry.parentPath, entry.name));
  const isCore = await Promise.all(paths.map(isCoreFile));
  return paths.filter((_, i) => isCore[i]);
}

/** ELF of the type `ET_CORE`. */
async function isCoreFile(path: string): Promise<boolean> {
  await using file = await open(path, 'r');
  const { buffer } = await file.read(Buffer.alloc(18), 0, 18, 0);
  return buffer.subarray(0, 4).equals(Buffer.from('\x7fELF')) && buffer.readUInt16LE(16) === 4;
}

async function readableMaps(pid: number): Promise<readonly { start: number; end: number }[]> {
  const text = await readFile(`/proc/${pid}/maps`, 'utf8');
  return text.split('\n').flatMap((line) => {
    const match = /^([0-9a-f]+)-([0-9a-f]+) r\S+ \S+ \S+ \S+\s*(.*)$/.exec(line);
    if (match === null || /^\[v(syscall|var|dso)/.test(match[3] ?? '')) return [];
    return [
      { start: Number.parseInt(match[1] ?? '', 16), end: Number.parseInt(match[2] ?? '', 16) },
    ];
  });
}
