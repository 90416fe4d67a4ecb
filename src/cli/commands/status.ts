/** `keyark status`: what runs, what is proven, what would be survived today. */
import type { Command } from 'commander';
import type { EpochMs, JsonObject } from '../../kernel/types.ts';
import { type Context, clientOf, hasOption, withData, withJson } from '../context.ts';
import {
  listOf,
  numberOf,
  objectOf,
  optionalNumber,
  optionalObject,
  optionalText,
  optionalTime,
  textOf,
} from '../json.ts';
import { holdLines, markLines, rehearsalMark } from '../marks.ts';
import { ago, duration, tableLines } from '../print.ts';

export function addStatus(program: Command, context: Context): void {
  const command = program
    .command('status')
    .description('what runs, what is proven, and what would be survived today')
    .option('--check', 'for monitors: the exit code is 0 good, 1 late, 2 at risk, 3 unknown')
    .addHelpText(
      'after',
      '\nExamples:\n  keyark status --json\n  keyark status --check     prints one line; 0 good, 1 late, 2 at risk, 3 unknown or no answer',
    );
  withJson(withData(command)).action(async () => {
    if (hasOption(command, 'check')) {
      await check(context, command);
      return;
    }
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

/** What `--check` ends with when there is no answer to judge. */
const UNKNOWN_CODE = 3;

/** Whatever keeps the answer away is unknown: a monitor must never take silence for good. */
async function check(context: Context, command: Command): Promise<void> {
  try {
    const { client } = await clientOf(context, command);
    const status = await client.own('GetStatus');
    const health = objectOf(status, 'Health');
    const code = numberOf(health, 'ExitCode');
    if (hasOption(command, 'json')) context.print.json(status);
    else context.print.line(`${textOf(health, 'Level')}: ${checkLine(status)}`);
    context.endWith(code);
  } catch (cause) {
    context.print.note(`unknown: ${cause instanceof Error ? cause.message : String(cause)}`);
    context.endWith(UNKNOWN_CODE);
  }
}

function checkLine(status: JsonObject): string {
  const reasons = listOf(objectOf(status, 'Health'), 'Reasons').map((each) => textOf(each, 'Why'));
  // The level stays the line's first word: monitors read it there.
  return `${rehearsalMark(status)}${[...reasons, headline(status)].join('; ')}   (profile ${textOf(status, 'Profile')})`;
}

/** How old the oldest cluster's newest proof is, and what no proof has. */
function headline(status: JsonObject): string {
  const head = objectOf(status, 'Headline');
  const clusters = numberOf(head, 'Clusters');
  if (clusters === 0) return 'no active cluster with an HSM';
  const age = optionalNumber(head, 'NewestProvenAgeSeconds');
  const proof =
    age === undefined
      ? 'no proven backup yet'
      : clusters === 1
        ? `newest proven backup ${duration(age * 1000)} old`
        : `oldest of ${clusters} clusters' newest proven backups ${duration(age * 1000)} old`;
  const keys = numberOf(head, 'UnprovenKeys');
  const atLeast = head['IsUnprovenKeysExact'] === false ? 'at least ' : '';
  return `${proof}; ${atLeast}${keys} ${keys === 1 ? 'key' : 'keys'} in no proven backup`;
}

export function statusLines(status: JsonObject, now: EpochMs): readonly string[] {
  const clusters = listOf(status, 'Clusters').map((cluster) => clusterRow(cluster, now));
  const head = ['cluster', 'state', 'HSMs', 'proven keys', 'newest proven', 'next by schedule'];
  return [
    ...markLines(status),

    ...headLines(status),
    '',
    ...(clusters.length === 0 ? ['No cluster yet.'] : tableLines(head, clusters)),
    ...listOf(status, 'Clusters').flatMap(notActiveLines),
    '',
    ...survivalLines(status),
    ...rootsLines(status),
    ...holdLines(status),
    ...trailLines(status),
  ];
}

/** The headline, and why it is not good if it is not. */
function headLines(status: JsonObject): readonly string[] {
  const health = objectOf(status, 'Health');
  const reasons = listOf(health, 'Reasons').map((each) => `  ${textOf(each, 'Why')}`);
  const level = textOf(health, 'Level').toUpperCase();
  return [`${level}: ${headline(status)}   (profile ${textOf(status, 'Profile')})`, ...reasons];
}

/** HSMs that do not serve, and why, in words that the service keeps with them. */
function notActiveLines(cluster: JsonObject): readonly string[] {
  return listOf(cluster, 'NotActive').map((hsm) => {
    const why = optionalText(hsm, 'StateMessage');
    return `  ${textOf(hsm, 'HsmId')} is ${textOf(hsm, 'State')}${why === undefined ? '' : `: ${why}`}`;
  });
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
  // The forecast's words; it has more of them.
  const noNext = cluster['State'] === 'ACTIVE' ? 'nothing to back up' : '-';
  const unproven = cluster['HasUnprovenChanges'] === true ? ', newer changes wait' : '';
  return [
    textOf(cluster, 'ClusterId'),
    textOf(cluster, 'State'),
    String(cluster['Hsms']),
    String(cluster['KeysProven']),
    proven === undefined ? 'none' : `${ago(proven, now)}${unproven}`,
    next === undefined ? noNext : next <= now ? 'now' : `in ${duration(next - now)}`,
  ];
}
