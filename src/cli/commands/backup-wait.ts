/**
 * `keyark backup wait`: until what was changed is in a proven backup, or until a backup is in a state. For scripts:
 * the exit code says whether it came about.
 */
import type { Command } from 'commander';
import type { JsonObject } from '../../kernel/types.ts';
import type { Client } from '../client.ts';
import { type Context, clientOf, hasOption, textOption, withData, withJson } from '../context.ts';
import { parseDuration } from '../duration.ts';
import { CommandFailed, EXIT } from '../exit-codes.ts';
import { numberOf, optionalNumber, optionalText, textOf } from '../json.ts';
import { chooseCluster } from '../officers.ts';
import { waitFor } from '../wait.ts';

const EVERY_MS = 500;
const STATES = ['CREATE_IN_PROGRESS', 'READY', 'PENDING_DELETION', 'DELETED'] as const;

export function addBackupWait(backup: Command, context: Context): void {
  const command = backup
    .command('wait')
    .description('wait until a change is in a proven backup, or until a backup is in a state')
    .option('--cluster-id <id>', 'with --contains-change: of which cluster')
    .option('--contains-change', 'until a proven backup holds what the HSM holds at this moment')
    .option('--backup-id <id>', 'with --state: which backup')
    .option('--state <state>', `until it is ${STATES.join(', ')}`)
    .option('--timeout <time>', 'how long at most, such as 90s, 10m, 2h', '5m')
    .addHelpText(
      'after',
      '\nExamples:\n  keyark backup wait --contains-change --timeout 2m\n  keyark backup wait --backup-id backup-… --state READY\n\nEnds with 0 when it came about, with 8 when it did not in time.',
    );
  withJson(withData(command)).action(async () => {
    const { client, clusterId: fallback } = await clientOf(context, command);
    const atMostMs = parseDuration(textOption(command, 'timeout') ?? '5m', '--timeout');
    const backupId = textOption(command, 'backupId');
    const state = textOption(command, 'state');
    const isForChange = hasOption(command, 'containsChange');
    if (
      isForChange === (backupId !== undefined) ||
      (backupId === undefined) !== (state === undefined)
    ) {
      throw new CommandFailed(
        EXIT.USAGE,
        'Say what to wait for: --contains-change (with --cluster-id), or --backup-id with --state.',
      );
    }
    const reached =
      backupId === undefined || state === undefined
        ? await untilProven(context, client, {
            clusterId: await chooseCluster(client, textOption(command, 'clusterId'), fallback),
            atMostMs,
          })
        : await untilState(context, client, { backupId, state: checkedState(state), atMostMs });
    if (hasOption(command, 'json')) context.print.json(reached.answer);
    else context.print.line(reached.sentence);
  });
}

interface Reached {
  readonly answer: JsonObject;
  readonly sentence: string;
}

/** The generation is asked of the HSM itself, so a change of a moment ago counts. */
async function untilProven(
  { clock, print }: Context,
  client: Client,
  { clusterId, atMostMs }: { clusterId: string; atMostMs: number },
): Promise<Reached> {
  const ask = (): Promise<JsonObject> => client.own('GetGeneration', { ClusterId: clusterId });
  const first = await ask();
  const wanted = numberOf(first, 'Generation');
  if (textOf(first, 'Profile') === 'aws-exact') {
    print.note(
      'In the profile aws-exact a change waits for the daily backup, or for an HSM added or removed.',
    );
  }
  print.progress(`${clusterId}: generation ${wanted}, until a proven backup holds it …`);
  const until = `a proven backup of ${clusterId} holds generation ${wanted}; \`keyark status\` and \`keyark forecast\` say what it waits for`;
  const answer = await waitFor(clock, { until, atMostMs, everyMs: EVERY_MS }, async () => {
    const now = await ask();
    return (optionalNumber(now, 'ProvenGeneration') ?? -1) >= wanted ? now : undefined;
  });
  return { answer, sentence: `${textOf(answer, 'ProvenBackupId')} holds it, and is proven.` };
}

async function untilState(
  { clock, print }: Context,
  client: Client,
  { backupId, state, atMostMs }: { backupId: string; state: string; atMostMs: number },
): Promise<Reached> {
  print.progress(`${backupId}: until it is ${state} …`);
  const patience = { until: `${backupId} is ${state}`, atMostMs, everyMs: EVERY_MS };
  const answer = await waitFor(clock, patience, async () => {
    const [seen] = await client.all('DescribeBackups', 'Backups', {
      Filters: { backupIds: [backupId] },
    });
    const is = seen && optionalText(seen, 'BackupState');
    if (is === state) return seen;
    if (is === undefined || is === 'DELETED') {
      throw new CommandFailed(
        is === undefined ? EXIT.REFUSED : EXIT.FAILED,
        is === undefined
          ? `There is no backup ${backupId} here.`
          : `${backupId} is DELETED, which is for good; it will not be ${state}. The service's log says why.`,
      );
    }
    return undefined;
  });
  return { answer, sentence: `${backupId} is ${state}.` };
}

function checkedState(text: string): string {
  const state = STATES.find((each) => each === text.toUpperCase());
  if (state !== undefined) return state;
  throw new CommandFailed(EXIT.USAGE, `--state ${text}: there are ${STATES.join(', ')}.`);
}
