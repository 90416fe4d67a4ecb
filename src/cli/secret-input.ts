/** Reading a secret: from a file that was named, from the terminal without an echo, or from a pipe. */
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import type { Context } from './context.ts';
import { CommandFailed, EXIT } from './exit-codes.ts';

const MAX_BYTES = 4096;

/** The first line, without its end. Never from an argument or a variable: both are seen by others. */
export async function readSecret(
  { print }: Pick<Context, 'print'>,
  from: { readonly prompt: string; readonly file: string | undefined },
): Promise<string> {
  const text =
    from.file === undefined
      ? await readFirstLine(print, from.prompt)
      : (await readFile(from.file, 'utf8')).split('\n')[0];
  if (text === undefined || text === '' || Buffer.byteLength(text) > MAX_BYTES) {
    throw new CommandFailed(EXIT.USAGE, 'Nothing was given; nothing was changed.');
  }
  return text;
}

function readFirstLine(print: Context['print'], prompt: string): Promise<string | undefined> {
  const isTerminal = process.stdin.isTTY === true;
  // A terminal that readline drives echoes through this stream, which drops everything.
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: silent, terminal: isTerminal });
  if (isTerminal) process.stderr.write(prompt);
  return new Promise((resolve, reject) => {
    lines.once('line', (line) => {
      resolve(line);
      lines.close();
    });
    lines.once('SIGINT', () => {
      reject(new CommandFailed(EXIT.FAILED, 'Given up; nothing was changed.'));
      lines.close();
    });
    lines.once('close', () => {
      if (isTerminal) print.note('');
      resolve(undefined);
    });
  });
}
