/** Looks for planted bytes in the memory of a running process, as root with a debugger could. */
import { open, readFile } from 'node:fs/promises';

const PIECE_BYTES = 4 * 1024 * 1024;

export interface Planted {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** The forms in which a secret would travel or rest: raw, hex, base64 at each of its three alignments. */
export function formsOf(name: string, secret: Uint8Array): readonly Planted[] {
  const buffer = Buffer.from(secret);
  const forms = [
    { name: `${name} raw`, bytes: secret },
    { name: `${name} hex`, bytes: Buffer.from(buffer.toString('hex')) },
    { name: `${name} HEX`, bytes: Buffer.from(buffer.toString('hex').toUpperCase()) },
  ];
  for (const shift of [0, 1, 2]) {
    const text = Buffer.concat([Buffer.alloc(shift), buffer]).toString('base64');
    // The first and last quadruple depend on neighbours; what is between them does not.
    const core = text.slice(shift === 0 ? 0 : 4, -4);
    if (core.length >= 12)
      forms.push({ name: `${name} base64+${shift}`, bytes: Buffer.from(core) });
  }
  return forms;
}

/** @returns the names of what was found, in any writable or readable mapping of the process. */
export async function searchMemory(
  pid: number,
  planted: readonly Planted[],
): Promise<readonly string[]> {
  const longest = Math.max(...planted.map(({ bytes }) => bytes.length));
  const found = new Set<string>();
  await using memory = await open(`/proc/${pid}/mem`, 'r');
  for (const { start, end } of await readableMaps(pid)) {
    let carry = Buffer.alloc(0);
    for (let at = start; at < end; at += PIECE_BYTES) {
      const piece = Buffer.alloc(Math.min(PIECE_BYTES, end - at));
      try {
        await memory.read(piece, 0, piece.length, at);
      } catch {
        // Guard pages and device memory cannot be read by anybody; there is nothing in them.
        break;
      }
      const window = Buffer.concat([carry, piece]);
      for (const { name, bytes } of planted) {
        if (window.includes(bytes)) found.add(name);
      }
      carry = window.subarray(-(longest - 1));
    }
  }
  return [...found].sort();
}

/** @returns the names of what was found in the bytes. */
export function searchBytes(bytes: Uint8Array, planted: readonly Planted[]): readonly string[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return planted.filter((each) => buffer.includes(each.bytes)).map(({ name }) => name);
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
