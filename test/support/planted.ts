/** Planted secrets in the forms in which they would travel or rest, and looking for them. */
import { createPrivateKey } from 'node:crypto';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';

const PIECE_BYTES = 1024 * 1024;

export interface Planted {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Raw, hex, base64 at each of its three alignments. */
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

/** A text also as JavaScript keeps it beside letters that need two bytes. */
export const formsOfText = (name: string, text: string): readonly Planted[] => [
  ...formsOf(name, Buffer.from(text)),
  { name: `${name} UTF-16`, bytes: Buffer.from(text, 'utf16le') },
];

/** The private numbers of a key, a line of its PEM text, and its DER as a whole, with and without PKCS#8. */
export function formsOfPem(name: string, pem: string): readonly Planted[] {
  const key = createPrivateKey(pem);
  const { d, p, q } = key.export({ format: 'jwk' });
  const numbers = Object.entries({ d, p, q }).flatMap(([part, text]) =>
    text === undefined ? [] : formsOf(`${name} ${part}`, Buffer.from(text, 'base64url')),
  );
  const lines = pem.split('\n').filter((line) => line !== '' && !line.startsWith('-----'));
  // From the middle: the first lines are the same for all keys of a kind.
  const line = lines[Math.floor(lines.length / 2)] ?? '';
  const inner = key.asymmetricKeyType === 'rsa' ? 'pkcs1' : 'sec1';
  const der = (type: 'pkcs8' | 'pkcs1' | 'sec1') => key.export({ type, format: 'der' });
  return [
    ...numbers,
    { name: `${name} PEM line`, bytes: Buffer.from(line) },
    ...formsOf(`${name} PKCS#8 DER`, der('pkcs8')),
    ...formsOf(`${name} ${inner} DER`, der(inner)),
  ];
}

/** @returns the names of what was found in the bytes. */
export function searchBytes(bytes: Uint8Array, planted: readonly Planted[]): readonly string[] {
  const search = new Search(planted);
  search.take(bytes);
  return search.found();
}

/** Looks for all of them in one pass, also where two pieces of what it is given meet. */
export class Search {
  /** By the first four bytes. */
  readonly #startingWith = new Map<number, Planted[]>();
  /** 1 for every pair of bytes that something starts with: nearly all of any memory ends here. */
  readonly #isStart = new Uint8Array(2 ** 16);
  readonly #longest: number;
  readonly #found = new Set<string>();
  #carry: Uint8Array = new Uint8Array(0);

  /** @param planted of at least four bytes each. */
  constructor(planted: readonly Planted[]) {
    this.#longest = Math.max(...planted.map(({ bytes }) => bytes.length));
    for (const each of planted) {
      const start = Buffer.from(each.bytes).readUInt32BE(0);
      this.#isStart[start >>> 16] = 1;
      this.#startingWith.set(start, [...(this.#startingWith.get(start) ?? []), each]);
    }
  }

  /** The piece may be written over afterwards. */
  take(piece: Uint8Array): void {
    const overlap = this.#longest - 1;
    const seam = Buffer.concat([this.#carry, piece.subarray(0, overlap)]);
    this.#scan(seam);
    this.#scan(Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength));
    const end = piece.length < overlap ? seam : piece;
    this.#carry = Buffer.from(end.subarray(Math.max(0, end.length - overlap)));
  }

  #scan(window: Buffer): void {
    const isStart = this.#isStart;
    let pair = 0;
    for (let at = 0; at < window.length; at += 1) {
      pair = ((pair << 8) | (window[at] ?? 0)) & 0xffff;
      if (isStart[pair] === 1) this.#lookAt(window, at - 1);
    }
  }

  #lookAt(window: Buffer, at: number): void {
    if (at < 0 || at + 4 > window.length) return;
    for (const { name, bytes } of this.#startingWith.get(window.readUInt32BE(at)) ?? []) {
      if (window.subarray(at, at + bytes.length).equals(bytes)) this.#found.add(name);
    }
  }

  /** What comes next does not follow on what came before. */
  gap(): void {
    this.#carry = new Uint8Array(0);
  }

  found(): readonly string[] {
    return [...this.#found].sort();
  }
}

export async function searchFile(
  path: string,
  planted: readonly Planted[],
): Promise<readonly string[]> {
  await using file = await open(path, 'r');
  const search = new Search(planted);
  const buffer = Buffer.alloc(PIECE_BYTES);
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, PIECE_BYTES);
    if (bytesRead === 0) return search.found();
    search.take(buffer.subarray(0, bytesRead));
  }
}

/** @returns a line for each find below the folder. */
export async function searchFolder(
  folder: string,
  planted: readonly Planted[],
): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const found: string[] = [];
  for (const entry of entries.filter((each) => each.isFile())) {
    const path = join(entry.parentPath, entry.name);
    for (const name of await searchFile(path, planted)) found.push(`${name} in ${path}`);
  }
  return found;
}
