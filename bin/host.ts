/**
 * The HSM host's process. `keyark serve` starts it as its child: fd 3 is the control plane's channel, and
 * its end is this process's end. Started as root it becomes the guard and runs the host as another user.
 *
 *     host.ts --data DIR [--user UID:GID]
 */
import { mkdirSync, readFileSync, realpathSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { hostUser, isRoot, parseUser } from '../src/host/users.ts';
import { systemClock } from '../src/kernel/clock.ts';
import { Failed } from '../src/kernel/errors.ts';

const CHECKOUT = dirname(import.meta.dirname);
const CREDENTIAL = 'keyark-roots';

const say = (line: string): void => console.error(`keyark-host: ${line}`);

interface Flags {
  readonly data: string;
  readonly user: string | undefined;
  /** Given by the guard: code that is installed already, and the Node to run it. */
  readonly code: string | undefined;
  readonly node: string | undefined;
}

async function main(): Promise<void> {
  process.umask(0o027);
  const flags = parseFlags();
  const user = flags.user === undefined ? hostUser() : parseUser(flags.user);
  if (isRoot() && user.uid !== 0) {
    const control = new AbortController();
    // Nothing comes over the guard's own pipe but its end, which tells more surely than IPC's.
    new Socket({ fd: 3 }).on('close', () => control.abort()).resume();
    process.on('disconnect', () => control.abort());
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => control.abort());
    // Each loads its own part only: this process comes before the first answer.
    const { guard } = await import('../src/host/guard.ts');
    flushCompileCache();
    await guard(
      {
        ...{ data: flags.data, checkout: CHECKOUT, user, say },
        clock: systemClock,
        passphrase: credential(),
        onChannel: (channel) => process.send?.({ kind: 'channel' }, channel, { keepOpen: false }),
      },
      control.signal,
    );
    process.exit(0);
  }
  const { runHost } = await import('../src/host/run.ts');
  flushCompileCache();
  await runHost({ ...flags, checkout: CHECKOUT, credential, say });
}

/** From systemd (`LoadCredential=keyark-roots:…`); one line feed at the end is not part of it. */
function credential(): Uint8Array | undefined {
  const folder = process.env['CREDENTIALS_DIRECTORY'];
  if (folder === undefined) return undefined;
  try {
    return withoutLineFeed(readFileSync(join(folder, CREDENTIAL)));
  } catch {
    // No such credential is the usual case: the roots are open, or an operator unlocks them.
    return undefined;
  }
}

function withoutLineFeed(bytes: Uint8Array): Uint8Array {
  return bytes.at(-1) === 0x0a ? bytes.subarray(0, -1) : bytes;
}

function parseFlags(): Flags {
  const { values } = parseArgs({
    options: {
      data: { type: 'string' },
      user: { type: 'string' },
      code: { type: 'string' },
      node: { type: 'string' },
    },
  });
  if (values.data === undefined) throw new Failed('START', 'which folder? --data DIR');
  mkdirSync(values.data, { recursive: true });
  return {
    data: realpathSync(values.data),
    user: values.user,
    code: values.code,
    node: values.node,
  };
}

try {
  await main();
} catch (cause) {
  const message = cause instanceof Error ? cause.message : String(cause);
  say(message);
  const leave = () => process.exit(70);
  if (process.send === undefined) leave();
  else process.send({ kind: 'failed', message }, leave);
}
