/** `keyark restore`: say what a restore would do, do it to a live cluster, undo it. */
import type { Command } from 'commander';
import { isoTime, MINUTE_MS } from '../../kernel/clock.ts';
import type { EpochMs, JsonObject } from '../../kernel/types.ts';
import type { Client } from '../client.ts';
import { confirm } from '../confirm.ts';
import { type Context, clientOf, hasOption, textOption, withData, withJson } from '../context.ts';
import { CommandFailed, EXIT } from '../exit-codes.ts';
import { listOf, numberOf, objectOf, optionalText, optionalTime, textOf } from '../json.ts';
import { ADMIN, asOfficer, withLogin } from '../officer-command.ts';
import { chooseCluster } from '../officers.ts';
import { duration } from '../print.ts';
import { nameRows, planLines } from '../restore-words.ts';
import { waitFor } from '../wait.ts';

const RESTORE_MS = 10 * MINUTE_MS;

export function addRestore(program: Command, context: Context): void {
  const restore = program
    .command('restore')
    .description('restores into a cluster: plan, start, undo, list')
    .addHelpText('after', '\nExample:\n  keyark restore plan');
  addPlan(restore, context);
  addStart(restore, context);
  addUndo(restore, context);
  addList(restore, context);
}

function addPlan(restore: Command, context: Context): void {
  const plan = restore
    .command('plan')
    .description(
      'what would appear, vanish and change, and what stands in the way; changes nothing',
    )
    .option('--backup-id <id>', 'which backup (default: the newest)')
    .option('--names', 'log in at the HSM as an admin and show names and labels too')
    .addHelpText(
      'after',
      '\nExamples:\n  keyark restore plan --backup-id backup-…\n  keyark restore plan --backup-id backup-… --names\n\nWithout a cluster it says what a cluster made from the backup would be. Counts come from a throw-away HSM;\nnames go only to an admin, by TLS that ends inside the HSM.',
    );
  withJson(withLogin(plan, ADMIN.username)).action(async () => {
    const { client, clusterId: fallback } = await clientOf(context, plan);
    const backup = textOption(plan, 'backupId');
    const cluster = textOption(plan, 'clusterId') ?? (await clusterOf(client, backup, fallback));
    const answer = await askPlan(client, cluster, backup);
    // Whose officers may read the names: those of the cluster that was planned for.
    if (cluster !== undefined) plan.setOptionValue('clusterId', cluster);
    const names = hasOption(plan, 'names') ? await readNames(context, plan, answer) : undefined;
    if (hasOption(plan, 'json')) {
      context.print.json(names === undefined ? answer : { ...answer, Names: names });
      return;
    }
    for (const line of planLines(answer)) context.print.line(line);
    if (names !== undefined) printNames(context, names);
  });
}

/** Of a backup alone its own cluster is meant, while there is one. */
async function clusterOf(
  client: Client,
  backupId: string | undefined,
  fallback: string | undefined,
): Promise<string | undefined> {
  if (backupId === undefined) return await chooseCluster(client, undefined, fallback);
  const filters = { Filters: { backupIds: [backupId] } };
  const [backup] = await client.all('DescribeBackups', 'Backups', filters);
  const id = backup && optionalText(backup, 'ClusterId');
  if (id === undefined) return undefined;
  const clusters = await client.all('DescribeClusters', 'Clusters', {
    Filters: { clusterIds: [id] },
  });
  return clusters.some((each) => each['State'] !== 'DELETED') ? id : undefined;
}

async function askPlan(
  client: Client,
  clusterId: string | undefined,
  backupId: string | undefined,
): Promise<JsonObject> {
  return await client.own('PlanRestore', {
    ...(clusterId === undefined ? {} : { ClusterId: clusterId }),
    ...(backupId === undefined ? {} : { BackupId: backupId }),
  });
}

async function readNames(context: Context, plan: Command, answer: JsonObject): Promise<JsonObject> {
  const box = optionalText(answer, 'Names');
  if (box === undefined) {
    throw new CommandFailed(
      EXIT.REFUSED,
      'There are no names to show: nothing was compared. The plan without --names says why.',
    );
  }
  return await asOfficer(context, plan, ADMIN, (officer) =>
    officer.call('plan-read', { plan: box }),
  );
}

function printNames({ print }: Context, names: JsonObject): void {
  print.line();
  print.table(['what', 'name', 'of', 'would be'], nameRows(names));
  const left = numberOf(names, 'left');
  if (left > 0) print.line(`and ${left} more.`);
}

function addStart(restore: Command, context: Context): void {
  const start = restore
    .command('start')
    .description(
      'restore a backup into a live cluster: safety backup first, then build, verify, switch',
    )
    .requiredOption('--cluster-id <id>', 'which cluster')
    .requiredOption('--backup-id <id>', 'which backup')
    .option('--yes', 'do not ask; the cluster id is spelled out already')
    .addHelpText(
      'after',
      '\nExample:\n  keyark restore start --cluster-id cluster-… --backup-id backup-…\n\nShows the plan and asks. Changes are held back for the seconds it takes; sessions end at the switch.\nUndo it with `keyark restore undo`. AWS’s RestoreBackup is something else: it brings back a deleted backup.',
    );
  withJson(withData(start)).action(async () => {
    const { client } = await clientOf(context, start);
    const clusterId = textOption(start, 'clusterId') ?? '';
    const backupId = textOption(start, 'backupId') ?? '';
    const plan = await askPlan(client, clusterId, backupId);
    for (const line of planLines(plan)) context.print.note(line);
    const [blocker] = listOf(plan, 'Blockers');
    if (blocker !== undefined) {
      const text = `[${textOf(blocker, 'Code')}] ${textOf(blocker, 'Text')} Nothing was changed.`;
      throw new CommandFailed(EXIT.REFUSED, text);
    }
    await confirm(context, {
      plan: [`This replaces what ${clusterId} holds.`],
      name: clusterId,
      isYes: hasOption(start, 'yes'),
    });
    const answer = await client.own('StartRestore', { ClusterId: clusterId, BackupId: backupId });
    await follow(context, start, client, objectOf(answer, 'Restore'));
  });
}

function addUndo(restore: Command, context: Context): void {
  const undo = restore
    .command('undo')
    .description('bring back what the last restore into a cluster replaced')
    .requiredOption('--cluster-id <id>', 'which cluster')
    .option('--yes', 'do not ask; the cluster id is spelled out already')
    .addHelpText('after', '\nExample:\n  keyark restore undo --cluster-id cluster-…');
  withJson(withData(undo)).action(async () => {
    const { client } = await clientOf(context, undo);
    const clusterId = textOption(undo, 'clusterId') ?? '';
    const last = await lastDone(client, clusterId);
    const safety = last && optionalText(last, 'SafetyBackupId');
    if (safety !== undefined) {
      const lines = planLines(await askPlan(client, clusterId, safety));
      for (const line of lines) context.print.note(line);
      await confirm(context, {
        plan: [`This replaces what ${clusterId} holds.`],
        name: clusterId,
        isYes: hasOption(undo, 'yes'),
      });
    }
    const answer = await client.own('UndoRestore', { ClusterId: clusterId });
    await follow(context, undo, client, objectOf(answer, 'Restore'));
  });
}

async function lastDone(client: Client, clusterId: string): Promise<JsonObject | undefined> {
  const restores = listOf(await client.own('ListRestores', { ClusterId: clusterId }), 'Restores');
  return restores.find((each) => each['State'] === 'DONE');
}

/** Until its end. What it says then is the answer. */
async function follow(
  context: Context,
  command: Command,
  client: Client,
  started: JsonObject,
): Promise<void> {
  const id = textOf(started, 'RestoreId');
  const clusterId = textOf(started, 'ClusterId');
  context.print.progress(`${id}: safety backup, building, verifying …`);
  const patience = { until: `${id} is done`, atMostMs: RESTORE_MS };
  const ended = await waitFor(context.clock, patience, async () => {
    const listed = listOf(await client.own('ListRestores', { ClusterId: clusterId }), 'Restores');
    const found = listed.find((each) => each['RestoreId'] === id);
    return found?.['State'] === 'DONE' || found?.['State'] === 'FAILED' ? found : undefined;
  });
  context.print.endProgress();
  const why = optionalText(ended, 'Why');
  if (why !== undefined) {
    throw new CommandFailed(EXIT.FAILED, `${id} failed; ${clusterId} is as it was. ${why}`);
  }
  if (hasOption(command, 'json')) {
    context.print.json(ended);
    return;
  }
  const until = optionalTime(ended, 'UndoUntil');
  context.print.line(
    `${clusterId} holds what ${textOf(ended, 'BackupId')} held; ${textOf(ended, 'NewHsmId')} took over from ${textOf(ended, 'OldHsmId')}.`,
  );
  context.print.line(
    `What was there before is in ${textOf(ended, 'SafetyBackupId')}. Until ${until === undefined ? '-' : isoTime(until)}: keyark restore undo --cluster-id ${clusterId}`,
  );
}

function addList(restore: Command, context: Context): void {
  const list = restore
    .command('list')
    .description('restores into live clusters, newest first')
    .option('--cluster-id <id>', 'of this cluster only')
    .addHelpText('after', '\nExample:\n  keyark restore list');
  withJson(withData(list)).action(async () => {
    const { client } = await clientOf(context, list);
    const clusterId = textOption(list, 'clusterId');
    const answer = await client.own('ListRestores', {
      ...(clusterId === undefined ? {} : { ClusterId: clusterId }),
    });
    if (hasOption(list, 'json')) {
      context.print.json(answer);
      return;
    }
    const { Now } = await client.own('GetStatus');
    const now = (Number(Now) * 1000) as EpochMs;
    context.print.table(
      ['restore', 'cluster', 'from', 'state', 'started', ''],
      listOf(answer, 'Restores').map((each) => row(each, now)),
    );
  });
}

function row(restore: JsonObject, now: EpochMs): readonly string[] {
  const started = optionalTime(restore, 'StartedAt');
  const until = optionalTime(restore, 'UndoUntil');
  const undoable = until !== undefined && until > now;
  return [
    textOf(restore, 'RestoreId'),
    textOf(restore, 'ClusterId'),
    textOf(restore, 'BackupId'),
    textOf(restore, 'State'),
    started === undefined ? '' : isoTime(started),
    optionalText(restore, 'Why') ?? (undoable ? `undo for ${duration(until - now)}` : ''),
  ];
}
