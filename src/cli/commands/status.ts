/** `keyark status`: what runs, what is proven, what would be survived today. */
import type { Command } from 'commander';
import type { EpochMs, JsonObject } from '../../kernel/types.ts';
import { type Context, clientOf, hasOption, withData, withJson } from '../context.ts';
import {
  listOf,
  numberOf,
  objectOf,
  optionalObject,
  optionalText,
  optionalTime,
  textOf,
} from '../json.ts';
import { ago, duration, tableLines } from '../print.ts';

export function addStatus(program: Command, context: Context): void {
  const command = program
    .command('status')
    .description('what runs, what is proven, and what would be survived today')
    .addHelpText('after', '\nExample:\n  keyark status --json');
  withJson(withData(command)).action(async () => {
    const { client } = await clientOf(context, command);
    const status = await client.own('GetStatus');
    if (hasOption(command, 'json')) {
      context.print.json(status);
      return;
    }
    // Times are printed against the service's clock, which made them. Seconds times 1000 are EpochMs.
    const now = (numberOf(status, 'Now') * 1000) as EpochMs;
    for (const line of statusLines(status, now)) context.print.line(line);
  });
}

export function statusLines(status: JsonObject, now: EpochMs): readonly string[] {
  const clusters = listOf(status, 'Clusters').map((cluster) => clusterRow(cluster, now));
  const head = ['cluster', 'state', 'HSMs', 'proven keys', 'newest proven', 'next by schedule'];
  return [
    ...(clusters.length === 0 ? ['No cluster yet.'] : tableLines(head, clusters)),
    '',
    ...survivalLines(status),
    ...rootsLines(status),
    ...trailLines(status),
  ];
}

export function survivalLines(status: JsonObject): readonly string[] {
  const rows = listOf(status, 'Survival').map((row) => [
    `  ${textOf(row, 'Loss')}`,
    row['IsSurvived'] === true ? 'yes' : 'NO',
    textOf(row, 'Why'),
  ]);
  return tableLines(['You would survive today', '', 'because'], rows);
}

export function rootsLines(status: JsonObject): readonly string[] {
  const roots = objectOf(status, 'Roots');
  const lines: string[] = [];
  if (roots['IsEvaluation'] === true) {
    lines.push(
      'These are evaluation roots, not sealed by a passphrase. Before real keys: keyark host seal',
    );
  }
  if (roots['AreLocked'] === true) {
    lines.push('[ROOTS_LOCKED] The roots are locked, so no HSM can start. Unlock: keyark unlock');
  }
  return lines;
}

function trailLines(status: JsonObject): readonly string[] {
  const problem = optionalText(optionalObject(status, 'Trail') ?? {}, 'Problem');
  if (problem === undefined) return [];
  return [
    `[TRAIL_UNAVAILABLE] Calls cannot be recorded (${problem}), so nothing can be changed; reads go on.`,
  ];
}

function clusterRow(cluster: JsonObject, now: EpochMs): readonly string[] {
  const proven = optionalTime(cluster, 'NewestProvenAt');
  const next = optionalTime(cluster, 'NextBackupAt');
  const unproven = cluster['HasUnprovenChanges'] === true ? ', newer changes wait' : '';
  return [
    textOf(cluster, 'ClusterId'),
    textOf(cluster, 'State'),
    String(cluster['Hsms']),
    String(cluster['KeysProven']),
    proven === undefined ? 'none' : `${ago(proven, now)}${unproven}`,
    next === undefined ? '-' : next <= now ? 'now' : `in ${duration(next - now)}`,
  ];
}
