/** Sockets on their way to an HSM's process: handed over whole, or closed; never lost. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { startLocalFleet } from '../../src/fleet/local.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { newClusterId, newHsmId } from '../../src/kernel/ids.ts';
import { systemRandom } from '../../src/kernel/random.ts';
import { fleetProcesses } from '../support/processes.ts';
import { tempFolder } from '../support/temp-folder.ts';

const ROUNDS = 3;
const CLIENTS = 100;

async function connected(path: string): Promise<Socket> {
  const socket = connect(path);
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

describe('an HSM that stops taking sockets and dies', () => {
  it('leaves no client waiting and no descriptor behind', async () => {
    await using temp = await tempFolder();
    await using fleet = await startLocalFleet({ data: temp.path, clock: systemClock });
    const clusterId = newClusterId(systemRandom);
    const hsmId = newHsmId(systemRandom);
    const hsm = await fleet.obtain(hsmId, clusterId);
    const path = join(temp.path, 'clusters', clusterId, 'officers.sock');
    const { host } = await fleetProcesses(fleet.pid ?? 0);
    const descriptors = async () => (await readdir(`/proc/${host}/fd`)).length;
    const before = await descriptors();
    for (let round = 0; round < ROUNDS; round += 1) {
      const pid = (await fleetProcesses(fleet.pid ?? 0)).hsms.get(hsmId);
      assert.ok(pid !== undefined);
      process.kill(pid, 'SIGSTOP');
      const clients = await Promise.all(Array.from({ length: CLIENTS }, () => connected(path)));
      const closed = clients.map((client) => once(client.resume(), 'close'));
      process.kill(pid, 'SIGKILL');
      await Promise.all(closed);
      await hsm.hello();
    }
    assert.ok((await descriptors()) <= before + 2, 'descriptors were left behind');
  });
});
