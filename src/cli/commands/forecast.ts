/** `keyark forecast`: the next backups, removals and drills, each with its reason. */
import type { Command } from 'commander';
import { isoTime } from '../../kernel/clock.ts';
import type { EpochMs, JsonObject } from '../../kernel/types.ts';
import { type Context, clientOf, hasOption, textOption, withData, withJson } from '../context.ts';
import { CommandFailed, EXIT } from '../exit-codes.ts';
import { listOf, optionalText, optionalTime, textOf } from '../json.ts';
import { duration, tableLines } from '../print.ts';

const MOST = 100;

export function addForecast(program: Command, context: Context): void {
  const command = program
    .command('forecast')
    .description('what comes next: backups, removals and drills, with their reasons')
    .option('--cluster-id <id>', 'of this cluster only; also of one whose copies are here')
    .option('--most <number>', 'how many of each kind', '3')
    .addHelpText('after', '\nExample:\n  keyark forecast --cluster-id cluster-… --most 10');
  withJson(withData(command)).action(async () => {
    const { client } = await clientOf(context, command);
    const answer = await client.own('Forecast', {
      ClusterId: textOption(command, 'clusterId'),
      MaxResults: mostOf(textOption(command, 'most') ?? ''),
    });
    if (hasOption(command, 'json')) context.print.json(answer);
    else for (const line of forecastLines(answer)) context.print.line(line);
  });
}

function mostOf(text: string): number {
  const most = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (most >= 1 && most <= MOST) return most;
  throw new CommandFailed(EXIT.USAGE, `--most ${text}: a number from 1 to ${MOST} is expected.`);
}

export function forecastLines(answer: JsonObject): readonly string[] {
  const now = optionalTime(answer, 'Now');
  const clusters = listOf(answer, 'Clusters');
  const head = `Profile ${textOf(answer, 'Profile')}. If nothing else happens:`;
  if (clusters.length === 0) {
    return [head, 'No cluster and no copy of a backup is in this region: nothing is planned.'];
  }
  const more =
    answer['HasMoreClusters'] === true ? ['', 'There are more: ask with --cluster-id.'] : [];
  return [head, ...clusters.flatMap((cluster) => clusterLines(cluster, now)), ...more];
}

function clusterLines(cluster: JsonObject, now: EpochMs | undefined): readonly string[] {
  const row = (what: string, item: JsonObject): readonly string[] => {
    const at = optionalTime(item, 'At');
    return [
      `  ${at === undefined ? '' : isoTime(at)}`,
      at === undefined || now === undefined ? '' : at <= now ? 'now' : `in ${duration(at - now)}`,
      what,
      optionalText(item, 'BackupId') ?? '',
      textOf(item, 'Why'),
    ];
  };
  const rows = [
    ...listOf(cluster, 'Backups').map((each) => row(`${textOf(each, 'Cause')} backup`, each)),
    ...listOf(cluster, 'Removals').map((each) =>
      row(REMOVALS.get(textOf(each, 'What')) ?? '', each),
    ),
    ...listOf(cluster, 'Drills').map((each) => row('drill', each)),
  ];
  const { Notes: notes } = cluster;
  return [
    '',
    textOf(cluster, 'ClusterId'),
    ...tableLines(['', '', '', '', ''], rows),
    ...(Array.isArray(notes) ? notes.map((note) => `  ${note}`) : []),
  ];
}

const REMOVALS = new Map([
  ['purge', 'gone for good'],
  ['retention', 'deleted, 7 days undo'],
  ['thinned', 'thinned, 7 days undo'],
]);
