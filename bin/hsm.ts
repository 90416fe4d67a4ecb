/**
 * Process: the boundary. Started by the host, confined by node's permission model, with one pipe for
 * calls (fd 3) and one IPC channel for sockets. It ends at once when either is gone: without its host
 * an HSM answers nobody.
 *
 *   hsm --dir DIR    an HSM whose files are in DIR
 *   hsm --drill      a throw-away HSM without disk and doors
 */
import { Socket } from 'node:net';
import { hashProgram, noDisk, openFolder } from '../src/hsm/disk.ts';
import { Hsm } from '../src/hsm/hsm.ts';
import type { AdoptMessage, TakenMessage } from '../src/hsm/protocol.ts';
import { systemClock } from '../src/kernel/clock.ts';
import { Failed } from '../src/kernel/errors.ts';
import { systemRandom } from '../src/kernel/random.ts';
import { WirePeer } from '../src/kernel/wire.ts';

const TAKEN: TakenMessage = { kind: 'taken' };
const EXIT = { HOST_GONE: 0, USAGE: 64, BROKEN: 70 } as const;

// Before anything that could throw: a stack may hold what must not leave, so only the kind is told, or
// the sentence of a failure that we worded ourselves.
process.on('uncaughtException', (cause) =>
  end(EXIT.BROKEN, cause instanceof Failed ? cause.message : `broken: ${cause.name}`),
);
process.on('unhandledRejection', () => end(EXIT.BROKEN, 'broken: a promise nobody waited for'));

function end(code: number, why: string): never {
  process.stderr.write(`hsm: ${why}\n`);
  process.exit(code);
}

const [, program = '', option, folder] = process.argv;
const isDrill = option === '--drill';
if (!isDrill && (option !== '--dir' || folder === undefined)) {
  end(EXIT.USAGE, 'usage: hsm --dir DIR | hsm --drill');
}

const pipe = new Socket({ fd: 3 });
const hsm = new Hsm({
  disk: folder === undefined ? noDisk() : openFolder(folder),
  clock: systemClock,
  random: systemRandom,
  codeSha256: hashProgram(program),
  isDrill,
  emit: (name, params) => peer.emit(name, { ...params }),
  onBroken: (cause) =>
    end(EXIT.BROKEN, `broken: ${cause instanceof Error ? cause.name : 'unknown'}`),
});
const peer = new WirePeer(pipe, hsm.handlers());

peer.closed.then(() => process.exit(EXIT.HOST_GONE));
process.on('disconnect', () => process.exit(EXIT.HOST_GONE));
process.on('message', (message, handle) => {
  if (!(handle instanceof Socket)) return;
  // The host keeps its own end of the socket until here, so that none is lost when this process dies.
  process.send?.(TAKEN);
  if (isAdopt(message)) hsm.adopt(handle, message.door);
  else handle.destroy();
});

hsm.start();

function isAdopt(message: unknown): message is AdoptMessage {
  return (
    typeof message === 'object' &&
    message !== null &&
    'kind' in message &&
    message.kind === 'adopt' &&
    'door' in message &&
    (message.door === 'officers' || message.door === 'pkcs11')
  );
}
