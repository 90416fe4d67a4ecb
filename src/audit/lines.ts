/** The lines of one trail file, from the start or from the end, a piece at a time: files may be large. */
import { concat } from '../kernel/bytes.ts';
import type { TrailFiles } from './files.ts';

const PIECE_BYTES = 256 * 1024;
const NEWLINE = 0x0a;

export interface Line {
  /** Where it begins in its file. */
  readonly at: number;
  /** Without the end of line. */
  readonly bytes: Uint8Array;
  /** False for bytes at the end of a file that no end of line follows. */
  readonly isWhole: boolean;
}

/** @param until reads no further than this, a place between lines. */
export async function* linesForward(
  files: TrailFiles,
  name: string,
  until: number,
): AsyncGenerator<Line> {
  let rest: Uint8Array = new Uint8Array();
  let restAt = 0;
  for (let at = 0; at < until; at += PIECE_BYTES) {
    const piece = await files.read(name, at, Math.min(PIECE_BYTES, until - at));
    const bytes = concat(rest, piece);
    let from = 0;
    for (;;) {
      const end = bytes.indexOf(NEWLINE, from);
      if (end < 0) break;
      yield { at: restAt + from, bytes: bytes.subarray(from, end), isWhole: true };
      from = end + 1;
    }
    rest = bytes.slice(from);
    restAt += from;
    if (piece.length === 0) break;
  }
  if (rest.length > 0) yield { at: restAt, bytes: rest, isWhole: false };
}

/** Newest first. @param from where to begin, a place between lines; what lies behind it is not read. */
export async function* linesBackward(
  files: TrailFiles,
  name: string,
  from: number,
): AsyncGenerator<Line> {
  let end = from;
  /** Bytes from `end` on whose line began further in front. */
  let rest: Uint8Array = new Uint8Array();
  let isFirst = true;
  while (end > 0) {
    const start = Math.max(0, end - PIECE_BYTES);
    const bytes = concat(await files.read(name, start, end - start), rest);
    let stop = bytes.length;
    if (isFirst) {
      // The end of line of the newest line, unless that line was torn.
      if (bytes[stop - 1] === NEWLINE) stop -= 1;
      else {
        const cut = bytes.lastIndexOf(NEWLINE) + 1;
        if (cut === 0 && start > 0) {
          rest = bytes;
          end = start;
          continue;
        }
        yield { at: start + cut, bytes: bytes.subarray(cut), isWhole: false };
        stop = cut - 1;
      }
      isFirst = false;
      if (stop < 0) return;
    }
    for (;;) {
      const before = stop === 0 ? -1 : bytes.lastIndexOf(NEWLINE, stop - 1);
      if (before < 0) break;
      yield { at: start + before + 1, bytes: bytes.subarray(before + 1, stop), isWhole: true };
      stop = before;
    }
    rest = bytes.slice(0, stop);
    end = start;
  }
  if (!isFirst) yield { at: 0, bytes: rest, isWhole: true };
}
