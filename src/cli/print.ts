/** How the command line speaks: answers on stdout, everything about them on stderr. */
import { clearLine, cursorTo } from 'node:readline';
import type { EpochMs, JsonObject } from '../kernel/types.ts';

export interface Printer {
  /** Part of the answer. */
  line(text?: string): void;
  /** Columns as wide as their widest cell. A column whose cells are all numbers is aligned right. */
  table(head: readonly string[], rows: readonly (readonly string[])[]): void;
  json(value: JsonObject): void;
  /** Not part of the answer: warnings, prompts, what is going on. */
  note(text: string): void;
  /** One line that is written over on a terminal; nothing elsewhere. */
  progress(text: string): void;
  endProgress(): void;
}

export function createPrinter(out: NodeJS.WriteStream, err: NodeJS.WriteStream): Printer {
  let isShowing = false;
  const endProgress = (): void => {
    if (!isShowing) return;
    clearLine(err, 0);
    cursorTo(err, 0);
    isShowing = false;
  };
  const line = (text = ''): void => {
    endProgress();
    out.write(`${text}\n`);
  };
  return {
    line,
    table: (head, rows) => {
      for (const text of tableLines(head, rows)) line(text);
    },
    json: (value) => line(JSON.stringify(value, null, 2)),
    note: (text) => {
      endProgress();
      err.write(`${text}\n`);
    },
    progress: (text) => {
      if (!err.isTTY) return;
      endProgress();
      err.write(text.slice(0, (err.columns ?? 80) - 1));
      isShowing = true;
    },
    endProgress,
  };
}

export function tableLines(
  head: readonly string[],
  rows: readonly (readonly string[])[],
): readonly string[] {
  const all = head.some((cell) => cell !== '') ? [head, ...rows] : rows;
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  const isNumeric = head.map(
    (_, column) =>
      rows.length > 0 &&
      rows.every((row) => /^[\d.,]+( ?(B|kB|MB|ms|s))?$/.test(row[column] ?? '')),
  );
  return all.map((row) =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return isNumeric[column] ? cell.padStart(width) : cell.padEnd(width);
      })
      .join('  ')
      .trimEnd(),
  );
}

/** `3 min`, `21 h 40 min`, `12 s`. */
export function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${Math.max(0, seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d`;
}

export function ago(at: EpochMs, now: EpochMs): string {
  return `${duration(now - at)} ago`;
}

/** `1 key`, `2 keys`. */
export const counted = (count: number, noun: string): string =>
  `${count} ${noun}${count === 1 ? '' : 's'}`;
