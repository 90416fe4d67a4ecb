/** The host itself, from its flags to its end: one process with one channel to the control plane. */
import { mkdirSync, statSync } from 'node:fs';
import { Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { systemClock } from '../kernel/clock.ts';
import { Failed } from '../kernel/errors.ts';
import { systemRandom } from '../kernel/random.ts';
import { WirePeer } from '../kernel/wire.ts';
import { channelHandlers } from './channel.ts';
import { bundle, type HsmCode, hashCode, install } from './code.ts';
import { Host } from './host.ts';
import { claimOperatorSocket, serveOperator } from './operator.ts';
import { missingPrograms } from './spawn.ts';

const END_TIMEOUT_MS = 3_000;
/** Not 0, which says that the control plane hung up. */
const TERMINATED_CODE = 143;

export interface HostFlags {
  readonly data: string;
  /** Where the sources are, for a host that has no guard. */
  readonly checkout: string;
  /** Given by the guard: code that is installed already, and the Node to run it. */
  readonly code: string | undefined;
  readonly node: string | undefined;
  /** For a host without a guard; the guard hands its own over on stdin. */
  readonly credential: () => Uint8Array | undefined;
  readonly say: (line: string) => void;
}

/** Returns when it is ready; then the end of its channel ends the process. @throws Failed `START`. */
export async function runHost(flags: HostFlags): Promise<void> {
  const { data, say } = flags;
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
  const code = flags.code === undefined ? await installedCode(flags) : givenCode(flags.code, flags);
  const channel: { peer?: WirePeer } = {};
  host = await Host.start({
    ...{ data, code, say },
    clock: systemClock,
    random: systemRandom,
    passphrase: flags.code === undefined ? flags.credential() : await handedOver(),
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

async function installedCode({ data, checkout }: HostFlags): Promise<HsmCode> {
  const text = await bundle(checkout, 'hsm');
  const { folder, file, sha256 } = await install(join(data, 'host', 'code'), 'hsm.mjs', text);
  return { folder, bundle: file, sha256, node: process.execPath };
}

function givenCode(file: string, { node }: HostFlags): HsmCode {
  return {
    folder: dirname(file),
    bundle: file,
    sha256: hashCode(file),
    node: node ?? process.execPath,
  };
}

/** The same from the guard, which may read what the host may not. */
async function handedOver(): Promise<Uint8Array | undefined> {
  const bytes = await buffer(process.stdin);
  return bytes.length === 0 ? undefined : new Uint8Array(bytes);
}
