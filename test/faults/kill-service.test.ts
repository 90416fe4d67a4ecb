/**
 * The whole service on a real folder loses its processes to kill -9, one after the other, while an officer
 * makes changes and backups are under way. `KEYARK_SEED=n` repeats who dies and when.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Client, ServiceRefused } from '../../src/cli/client.ts';
import { EXIT } from '../../src/cli/exit-codes.ts';
import { listOf, numberOf, objectOf, textOf } from '../../src/cli/json.ts';
import { describeCluster } from '../../src/cli/officers.ts';
import { waitFor } from '../../src/cli/wait.ts';
import { systemClock as clock } from '../../src/kernel/clock.ts';
import type { JsonObject } from '../../src/kernel/types.ts';
import { BusyOfficer } from '../support/busy-officer.ts';
import { Luck, seedOfThisRun } from '../support/luck.ts';
import { family, fleetProcesses, naming } from '../support/processes.ts';
import { checkBackups } from '../support/proofs.ts';
import { addHsm, clientOf, readyCluster, replaceHsms } from '../support/ready-cluster.ts';
import { type RunningService, startService, temporaryFolder } from '../support/service.ts';

const SEED = seedOfThisRun();
const REGION = 'us-east-1';
/** Soon after each change, so that backups are under way all the time. */
const SETTINGS = ['--backup-quiet', '1', '--backup-latest', '2'];
/** What was left half-way is tried again once a minute. */
const SETTLE_MS = 120_000;
const STRAYS_MS = 20_000;
/** About as long as a backup with its proof takes. */
const LONGEST_MOMENT_MS = 1_200;

type Victim = 'control plane' | 'guard' | 'host' | 'hsm' | 'drill';
/** As root only the host has a guard. */
const VICTIMS: readonly Victim[] = [
  'control plane',
  'control plane',
  ...(process.getuid?.() === 0 ? (['guard'] as const) : []),
  'host',
  'hsm',
  'hsm',
  'drill',
  'drill',
];
/** `EX_TEMPFAIL`: a service that may not start its guard again says so, and whoever runs it does. */
const RESTART_ME = 75;

test(`kill -9 of any process at any moment loses nothing that was acknowledged (seed ${SEED})`, async (t) => {
  t.diagnostic(`KEYARK_SEED=${SEED} repeats this run`);
  const luck = new Luck(SEED);
  await using folder = await temporaryFolder();
  await using stand = await Stand.start(join(folder.path, 'd'));
  const cluster = await readyCluster({ data: stand.data, customers: folder.path });
  const officer = new BusyOfficer({ ...cluster, data: stand.data }, luck);
  for (const [round, victim] of luck.shuffled(VICTIMS).entries()) {
    t.diagnostic(`${round}: ${victim}`);
    officer.start();
    await officer.isHeard();
    await stand.kill(victim, luck, cluster.clusterId);
    await officer.isHeard();
    await officer.pause();
    const { generation } = await stand.settle(cluster.clusterId);
    await officer.reaches(generation);
    await officer.check();
    await checkBackups(await clientOf(stand.data), { data: stand.data, region: REGION });
    assert.deepEqual(await stand.strays(), []);
  }

  const { backupId } = await stand.settle(cluster.clusterId);
  const before = await officer.check();
  await stand.replaceHsm(cluster.clusterId);
  assert.deepEqual(await officer.check(), before, `restored from ${backupId} or later`);
  await officer.checkAllPasswords();
  t.diagnostic(`${officer.acknowledged} changes were acknowledged`);
  await stand.stop();
  assert.deepEqual(await naming(stand.data), [], 'processes are left');
});

/** One data folder, and whatever service runs on it now. */
class Stand implements AsyncDisposable {
  readonly data: string;
  #service: RunningService;

  static async start(data: string): Promise<Stand> {
    return new Stand(data, await startService(data, SETTINGS));
  }

  private constructor(data: string, service: RunningService) {
    this.data = data;
    this.#service = service;
  }

  async stop(): Promise<void> {
    assert.equal(await this.#service.kill('SIGTERM'), 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#service[Symbol.asyncDispose]();
  }

  /** At a random moment of something that has just begun. */
  async kill(victim: Victim, luck: Luck, clusterId: string): Promise<void> {
    const moment = luck.below(LONGEST_MOMENT_MS);
    if (victim === 'drill') return await this.#killDrill(moment, clusterId);
    await this.#begin(luck, clusterId);
    await clock.sleep(moment);
    switch (victim) {
      case 'control plane':
        return await this.#killService();
      case 'guard':
        return await this.#killGuard();
      case 'host':
        process.kill((await fleetProcesses(this.#service.pid)).host, 'SIGKILL');
        return;
      case 'hsm':
        process.kill(await this.#anyHsm(luck), 'SIGKILL');
    }
  }

  /** A backup, or an HSM that comes or goes, which begins with one. One of two that goes may be the writer. */
  async #begin(luck: Luck, clusterId: string): Promise<void> {
    const client = await clientOf(this.data);
    const cluster = await describeCluster(client, clusterId);
    const hsms = listOf(cluster, 'Hsms');
    if (luck.below(2) === 0) await this.takeBackup(clusterId);
    else if (hsms.length === 1) await addHsm(client, cluster);
    else {
      const HsmId = textOf(luck.pick(hsms), 'HsmId');
      await client.aws('DeleteHsm', { ClusterId: clusterId, HsmId });
    }
  }

  async #killService(): Promise<void> {
    const unfinished = await this.#unfinished();
    await this.#service.kill('SIGKILL');
    await this.#startAgain(unfinished);
  }

  async #killGuard(): Promise<void> {
    const { guard } = await fleetProcesses(this.#service.pid);
    assert.ok(guard !== undefined);
    const unfinished = await this.#unfinished();
    process.kill(guard, 'SIGKILL');
    assert.equal(await this.#service.ended, RESTART_ME, this.#service.output());
    await this.#startAgain(unfinished);
  }

  /** At once: what the last service left may still be ending. */
  async #startAgain(unfinished: readonly string[]): Promise<void> {
    this.#service = await startService(this.data, SETTINGS);
    const still = await this.#unfinished();
    for (const id of unfinished)
      assert.ok(!still.includes(id), `${id} was not settled at the start`);
  }

  /** In mid-proof: the drill is frozen at a random moment of its life and dies once everything is stored. */
  async #killDrill(longestMs: number, clusterId: string): Promise<void> {
    for (let moment = longestMs; ; moment = Math.floor(moment / 2)) {
      const backupId = await this.takeBackup(clusterId);
      const drill = await this.#wait('a drill', async () => {
        const [pid] = (await fleetProcesses(this.#service.pid)).drills;
        return pid;
      });
      await clock.sleep(moment);
      if (!send(drill, 'SIGSTOP')) continue;
      await this.#wait('all is stored', async () =>
        existsSync(join(this.data, 'vault', REGION, 'objects', backupId, 'outer-1')),
      );
      send(drill, 'SIGKILL');
      const state = await this.#wait(`${backupId} is settled`, () => this.#settled(backupId));
      // Whose drill had signed already is READY, and its proof is looked at with all others.
      if (state === 'DELETED') return;
      assert.ok(moment > 0, `${backupId} is ${state} without a drill that could have signed`);
    }
  }

  async #anyHsm(luck: Luck): Promise<number> {
    return await this.#wait('an HSM', async () => {
      const { hsms } = await fleetProcesses(this.#service.pid);
      const pids = [...hsms.values()].sort((a, b) => a - b);
      return pids.length === 0 ? undefined : luck.pick(pids);
    });
  }

  /** Waits for a service, HSMs and backups that are at rest, with a proof of everything there is. */
  async settle(clusterId: string): Promise<{ backupId: string; generation: number }> {
    const client = await clientOf(this.data);
    await this.#everyHsmIsActive(client, clusterId);
    await this.#wait('no backup is under way', async () => (await this.#unfinished()).length === 0);
    // The control plane may not have noticed yet who was killed: then a first one fails, and says so.
    const backupId = await this.#wait('a backup is proven', async () => {
      const id = await this.takeBackup(clusterId);
      const state = await this.#wait(`${id} is settled`, () => this.#settled(id));
      return state === 'READY' ? id : undefined;
    });
    await this.#everyHsmIsActive(client, clusterId);
    const door = listOf(await client.own('GetClusterDoor', { ClusterId: clusterId }), 'Hsms');
    const writers = door.filter((hsm) => hsm['TakesWrites'] === true);
    assert.equal(writers.length, 1, 'one HSM has the turn');
    const proof = await client.own('GetBackupProof', { BackupId: backupId });
    const seal = objectOf(objectOf(proof, 'Seal'), 'statement');
    return { backupId, generation: numberOf(seal, 'generation') };
  }

  /** What died while it was made is deleted, as it asks for. */
  async #everyHsmIsActive(client: Client, clusterId: string): Promise<void> {
    await this.#wait('every HSM is ACTIVE', async () => {
      const hsms = listOf(await describeCluster(client, clusterId), 'Hsms');
      for (const hsm of hsms.filter(isOfNoUse)) {
        await client.aws('DeleteHsm', { ClusterId: clusterId, HsmId: textOf(hsm, 'HsmId') });
      }
      return hsms.length > 0 && hsms.every((hsm) => hsm['State'] === 'ACTIVE');
    });
  }

  /** @returns the id of a backup that has just begun; a cluster whose HSM is coming back refuses at first. */
  async takeBackup(clusterId: string): Promise<string> {
    const client = await clientOf(this.data);
    return await this.#wait('a backup begins', async () => {
      try {
        const answer = await client.own('TakeBackup', { ClusterId: clusterId });
        return textOf(objectOf(answer, 'Backup'), 'BackupId');
      } catch (cause) {
        if (cause instanceof ServiceRefused && cause.exitCode === EXIT.REFUSED) return undefined;
        throw cause;
      }
    });
  }

  /** The HSM is lost with its disk; its successor is made of the newest READY backup. */
  async replaceHsm(clusterId: string): Promise<void> {
    await this.#service.kill('SIGKILL');
    assert.deepEqual(await this.strays(), []);
    const hsms = join(this.data, 'host', 'hsms');
    for (const name of await readdir(hsms)) await rm(join(hsms, name), { recursive: true });
    await this.#startAgain([]);
    await replaceHsms(await clientOf(this.data), clusterId);
  }

  /** Processes that were started on this folder and belong to no service that runs; they get a moment to go. */
  async strays(): Promise<readonly string[]> {
    const deadline = clock.now() + STRAYS_MS;
    for (;;) {
      const ours = new Set((await family(this.#service.pid)).map(({ pid }) => pid));
      const strays = (await naming(this.data)).filter(({ pid }) => !ours.has(pid));
      if (strays.length === 0 || clock.now() > deadline) {
        return strays.map(({ pid, command }) => `${pid} ${command}`);
      }
      await clock.sleep(50);
    }
  }

  async #unfinished(): Promise<readonly string[]> {
    const backups = await (await clientOf(this.data)).all('DescribeBackups', 'Backups');
    return backups
      .filter((backup) => backup['BackupState'] === 'CREATE_IN_PROGRESS')
      .map((backup) => textOf(backup, 'BackupId'));
  }

  async #settled(backupId: string): Promise<string | undefined> {
    const answer = await (await clientOf(this.data)).aws('DescribeBackups', {
      Filters: { backupIds: [backupId] },
    });
    const [backup] = listOf(answer, 'Backups');
    const state = backup === undefined ? 'DELETED' : textOf(backup, 'BackupState');
    return state === 'CREATE_IN_PROGRESS' ? undefined : state;
  }

  async #wait<T>(until: string, ask: () => Promise<T | undefined | false>): Promise<T> {
    return await waitFor(clock, { until, atMostMs: SETTLE_MS, everyMs: 20 }, async () => {
      const answer = await ask();
      return answer === false ? undefined : answer;
    });
  }
}

/** What died while it was made says so, and asks to be deleted. */
function isOfNoUse(hsm: JsonObject): boolean {
  return hsm['State'] === 'DEGRADED' && /^Not usable/.test(String(hsm['StateMessage']));
}

/** @returns false when there is no such process any more. */
function send(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ESRCH') return false;
    throw cause;
  }
}
