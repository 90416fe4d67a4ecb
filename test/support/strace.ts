/**
 * Reads what `strace -f -y -xx` wrote: system calls with their arguments, each with the line it began and
 * the line it ended on. Calls of other threads in between split one call into two lines.
 */

export interface SystemCall {
  readonly name: string;
  /** As printed: `21</path>`, `"\x41"`, `O_RDWR|O_CREAT`, … */
  readonly args: readonly string[];
  /** What it returned; negative when it failed. */
  readonly result: number;
  readonly begin: number;
  readonly end: number;
}

const COMPLETE = /^(\d+) +(\w+)\((.*)\) += (-?\d+|\?)/s;
const UNFINISHED = /^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$/s;
const RESUMED = /^(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+|\?)/s;

/** In order of their ends. Calls that never ended are told with the end `Infinity`. */
export function parseTrace(text: string): readonly SystemCall[] {
  const calls: SystemCall[] = [];
  const open = new Map<string, { name: string; args: string; begin: number }>();
  for (const [line, content] of text.split('\n').entries()) {
    const complete = COMPLETE.exec(content);
    const unfinished = UNFINISHED.exec(content);
    const resumed = RESUMED.exec(content);
    if (complete !== null) {
      const [, , name = '', args = '', result] = complete;
      calls.push({
        name,
        args: splitArguments(args),
        result: toNumber(result),
        begin: line,
        end: line,
      });
    } else if (unfinished !== null) {
      const [, thread = '', name = '', args = ''] = unfinished;
      open.set(thread, { name, args, begin: line });
    } else if (resumed !== null) {
      const [, thread = '', , rest = '', result] = resumed;
      const started = open.get(thread);
      open.delete(thread);
      if (started === undefined) continue;
      const args = splitArguments(started.args + rest);
      const { name, begin } = started;
      calls.push({ name, args, result: toNumber(result), begin, end: line });
    }
  }
  for (const { name, args, begin } of open.values()) {
    calls.push({
      name,
      args: splitArguments(args),
      result: -1,
      begin,
      end: Number.POSITIVE_INFINITY,
    });
  }
  return calls;
}

const toNumber = (text: string | undefined): number =>
  text === undefined || text === '?' ? -1 : Number(text);

/** Splits at commas outside quotes, brackets and `<…>`. */
function splitArguments(text: string): readonly string[] {
  const args: string[] = [];
  let depth = 0;
  let isQuoted = false;
  let from = 0;
  for (let i = 0; i < text.length; i += 1) {
    const character = text[i] ?? '';
    if (character === '"') isQuoted = !isQuoted;
    else if (!isQuoted && '[{<('.includes(character)) depth += 1;
    else if (!isQuoted && ']}>)'.includes(character)) depth -= 1;
    else if (!isQuoted && depth === 0 && character === ',') {
      args.push(text.slice(from, i).trim());
      from = i + 1;
    }
  }
  if (text.slice(from).trim() !== '') args.push(text.slice(from).trim());
  return args;
}

/** The bytes of a `"\x41\x42"` argument; with `-xx` every byte is spelled so. */
export function bytesOf(argument: string): Uint8Array {
  const quoted = /"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?/.exec(argument);
  if (quoted === null || quoted[2] !== undefined) {
    throw new Error(`not the bytes of a whole string: ${argument.slice(0, 80)}`);
  }
  return new Uint8Array(Buffer.from((quoted[1] ?? '').replaceAll('\\x', ''), 'hex'));
}

/** The bytes of all buffers of a `writev` or of one of a `write`. */
export function payloadOf(argument: string): Uint8Array {
  if (!argument.startsWith('[')) return bytesOf(argument);
  const buffers = argument.match(/iov_base="(?:\\x[0-9a-f]{2})*"(\.\.\.)?/g) ?? [];
  return new Uint8Array(Buffer.concat(buffers.map(bytesOf)));
}

export const textOf = (argument: string): string => Buffer.from(bytesOf(argument)).toString();

/** `21</path>` → 21 */
export const descriptorOf = (argument: string): number => Number.parseInt(argument, 10);

/** The bytes of every buffer of a message as `sendmsg` and `recvmsg` show it. */
export const messageOf = (argument: string): Uint8Array => payloadOf(`[${argument}]`);
