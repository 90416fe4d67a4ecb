/**
 * The HSM host's process. `keyark serve` starts it as its child: fd 3 is the control plane's channel, and
 * its end is this process's end. Started as root it becomes the guard and runs the host as another user.
 *
 *     host.ts --data DIR [--user UID:GID]
 */
import { mkdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { channelHandlers } from '../src/host/channel.ts';
import { bundle, type HsmCode, hashCode, install } from '../src/host/code.ts';
import { guard } from '../src/host/guard.ts';
import { Host } from '../src/host/host.ts';
import { claimOperatorSocket, serveOperator } from '../src/host/operator.ts';
import { missingPrograms } from '../src/host/spawn.ts';
import { hostUser, isRoot, parseUser } from '../src/host/users.ts';
import { systemClock } from '../src/kernel/clock.ts';
import { Failed } from '../src/kernel/errors.ts';
import { systemRandom } from '../src/kernel/random.ts';
import { WirePeer } from '../src/kernel/wire.ts';

const CHECKOUT = dirname(import.meta.dirname);
const CREDENTIAL = 'keyark-roots';
const END_TIMEOUT_MS = 3_000;
/** Not 0, which says that the control plane hung up. */
const TERMINATED_CODE = 143;

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
  await runHost(flags);
}

async function runHost(flags: Flags): Promise<void> {
  const { data } = flags;
  checkOwner(data);
  const operatorPath = await claimOperatorSocket(data, systemClock);
  const missing = missingPrograms();
  if (missing.length > 0) {
    say(`without ${missing.join(' and ')} (util-linux) HSMs run less confined: install it`);
  }
  const stream = new Socket({ fd: 3 });
  let host: Host | undefined;
  const end = async (code: number) => {
    // HSMs see the host go and go too; ending them first leaves nobody behind for the next start.
    await Promise.race([host?.end(), systemClock.sleep(END_TIMEOUT_MS)]);
    process.exit(code);
  };
  // Waits are over when the control plane is.
  stream.on('close', () => void end(0));
  // Ctrl-C belongs to the control plane, which ends in order and then closes the channel.
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => void end(TERMINATED_CODE));
  const code = flags.code === undefined ? await installedCode(data) : givenCode(flags.code, flags);
  const channel: { peer?: WirePeer } = {};
  host = await Host.start({
    ...{ data, code, say },
    clock: systemClock,
    random: systemRandom,
    passphrase: flags.code === undefined ? credential() : await handedOver(),
    emit: (name, params) => channel.peer?.emit(name, params),
  });
  await serveOperator(host, operatorPath);
  channel.peer = new WirePeer(stream, channelHandlers(host));
  process.send?.({ kind: 'ready' });
}

/** The folder must be ours: another user's roots are none of our business, and unreadable anyway. */
function checkOwner(data: string): void {
  const folder = join(data, 'host');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const { uid } = statSync(folder);
  if (uid !== process.getuid?.()) {
    throw new Failed(
      'START',
      `${folder} belongs to user ${uid}; start Keyark as root, as the first time, or as that user.`,
    );
  }
}

async function installedCode(data: string): Promise<HsmCode> {
  const text = await bundle(CHECKOUT, 'hsm');
  const { folder, file, sha256 } = await install(join(data, 'host', 'code'), 'hsm.mjs', text);
  return { folder, bundle: file, sha256, node: process.execPath };
}

function givenCode(file: string, { node }: Flags): HsmCode {
  return {
    folder: dirname(file),
    bundle: file,
    sha256: hashCode(file),
    node: node ?? process.execPath,
  };
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

/** The same from the guard, which may read what the host may not. */
async function handedOver(): Promise<Uint8Array | undefined> {
  const bytes = await buffer(process.stdin);
  return bytes.length === 0 ? undefined : new Uint8Array(bytes);
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
