/** `keyark audit`: the trail of calls and acts, and whether it is whole. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { trailFolder } from '../../audit/files.ts';
import { type Verification, verifyTrail } from '../../audit/verify.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '../../kernel/clock.ts';
import type { JsonObject } from '../../kernel/types.ts';
import type { Client } from '../client.ts';
import {
  type Context,
  clientOf,
  configOf,
  hasOption,
  textOption,
  withData,
  withJson,
} from '../context.ts';
import { CommandFailed, EXIT } from '../exit-codes.ts';
import { listOf, numberOf, objectOf, optionalObject, optionalText, textOf } from '../json.ts';

const FOLLOW_MS = SECOND_MS;
const MAX_PAGES = 100_000;
const DEFAULT_EVENTS = 50;
const UNIT_MS: Readonly<Record<string, number>> = { m: MINUTE_MS, h: HOUR_MS, d: DAY_MS };

export function addAudit(program: Command, context: Context): void {
  const audit = program
    .command('audit')
    .description('the trail: every call and every act of the service, oldest first')
    .option('--since <time>', '30m, 12h, 7d ago, or 2026-11-23T09:00:00Z')
    .option('--event <name>', 'only these, such as DeleteBackup')
    .option('--resource <id>', 'only what speaks of this id or ARN')
    .option('--all-accounts', 'of every account and region (for the owner)')
    .option('--limit <number>', 'the newest so many (default 50; with --since all)')
    .option('--follow', 'go on with what comes')
    .addHelpText(
      'after',
      '\nExample:\n  keyark audit --since 24h --event DeleteBackup\n  keyark audit --follow --json',
    );
  withJson(withData(audit)).action(async () => {
    const { client } = await clientOf(context, audit);
    const query = queryOf(context, audit);
    const limit = limitOf(audit);
    let last = await print(context, audit, await newest(client, query, limit));
    while (hasOption(audit, 'follow')) {
      await context.clock.sleep(FOLLOW_MS);
      const { Since: _, ...rest } = query;
      const next = await newest(client, { ...rest, AfterSequence: last }, Number.MAX_SAFE_INTEGER);
      last = Math.max(last, await print(context, audit, next));
    }
  });

  const head = audit
    .command('head')
    .description('the number and hash of the newest record: keep it elsewhere, give it to verify')
    .addHelpText('after', '\nExample:\n  keyark audit head >> /elsewhere/heads');
  withJson(withData(head)).action(async () => {
    const { client } = await clientOf(context, head);
    const answer = await client.own('GetTrailHead');
    if (hasOption(head, 'json')) context.print.json(answer);
    else context.print.line(`${numberOf(answer, 'Sequence')}:${textOf(answer, 'Hash')}`);
  });

  const verify = audit
    .command('verify')
    .description('read the whole trail and find every edit, removal and reordering')
    .option('--head <number:hash>', 'what `keyark audit head` said (default: asks the service)')
    .option('--folder <folder>', 'where the files are (default: DATA/audit)')
    .addHelpText(
      'after',
      '\nExample:\n  keyark audit verify --head 1234:9f86d081…\n\nExit code 1 when something is wrong.',
    );
  withJson(withData(verify)).action(async () => {
    const folder =
      textOption(verify, 'folder') ?? join(configOf(context, verify).config.data, 'audit');
    if (!existsSync(folder)) {
      throw new CommandFailed(EXIT.FAILED, `There is no trail in ${folder}.`);
    }
    const expected = await headToExpect(context, verify);
    const found = await verifyTrail(trailFolder(folder), expected);
    if (hasOption(verify, 'json')) context.print.json(jsonOf(found, expected !== undefined));
    else for (const line of lines(found, expected !== undefined)) context.print.line(line);
    if (found.problems.length > 0) context.endWith(EXIT.FAILED);
  });
}

function queryOf(context: Context, command: Command): JsonObject {
  const since = textOption(command, 'since');
  return {
    Since: since === undefined ? undefined : secondsOf(since, context.clock.now()),
    EventName: textOption(command, 'event'),
    ResourceName: textOption(command, 'resource'),
    AllAccounts: hasOption(command, 'allAccounts') ? true : undefined,
  };
}

/** Oldest first. */
async function newest(client: Client, query: JsonObject, limit: number): Promise<JsonObject[]> {
  const found: JsonObject[] = [];
  let nextToken: string | undefined;
  for (let page = 0; page < MAX_PAGES && found.length < limit; page += 1) {
    const answer = await client.own('LookupEvents', { ...query, NextToken: nextToken });
    found.push(...listOf(answer, 'Events'));
    nextToken = optionalText(answer, 'NextToken');
    if (nextToken === undefined) break;
  }
  return found.slice(0, limit).reverse();
}

/** @returns the number of the newest record that was printed. */
async function print(
  context: Context,
  command: Command,
  records: readonly JsonObject[],
): Promise<number> {
  let last = 0;
  for (const record of records) {
    // JSON lines: one record a line, as it lies in the file.
    context.print.line(hasOption(command, 'json') ? JSON.stringify(record) : lineOf(record));
    last = Math.max(last, numberOf(objectOf(record, 'chain'), 'sequence'));
  }
  return last;
}

function lineOf(record: JsonObject): string {
  const identity = objectOf(record, 'userIdentity');
  const who =
    optionalText(identity, 'arn') ?? optionalText(identity, 'invokedBy') ?? 'unknown signer';
  const error = optionalText(record, 'errorCode');
  const resources = listOf(record, 'resources').map((each) =>
    textOf(each, 'ARN').split('/').at(-1),
  );
  const details = optionalObject(record, 'serviceEventDetails');
  return [
    textOf(record, 'eventTime'),
    textOf(record, 'eventName').padEnd(22),
    who,
    ...(details === undefined ? resources : [JSON.stringify(details)]),
    ...(error === undefined ? [] : [`${error}: ${optionalText(record, 'errorMessage') ?? ''}`]),
  ].join('  ');
}

function limitOf(command: Command): number {
  const text = textOption(command, 'limit');
  if (text === undefined) {
    return textOption(command, 'since') === undefined ? DEFAULT_EVENTS : Number.MAX_SAFE_INTEGER;
  }
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new CommandFailed(EXIT.USAGE, `--limit "${text}" is no number from 1 on.`);
}

function secondsOf(text: string, now: number): number {
  const [, number, unit] = /^(\d{1,6})([mhd])$/.exec(text) ?? [];
  const factor = UNIT_MS[unit ?? ''];
  const at =
    number !== undefined && factor !== undefined ? now - Number(number) * factor : Date.parse(text);
  if (!Number.isNaN(at)) return Math.max(0, Math.floor(at / 1000));
  throw new CommandFailed(
    EXIT.USAGE,
    `--since "${text}" is no time; one looks like 30m, 12h, 7d or 2026-11-23T09:00:00Z.`,
  );
}

/** The head that was given, or what the running service says; undefined when nobody says anything. */
async function headToExpect(
  context: Context,
  command: Command,
): Promise<{ sequence: number; hash: string } | undefined> {
  const given = textOption(command, 'head');
  if (given !== undefined) {
    const [, sequence, hash] = /^(\d{1,15}):([0-9a-f]{64})$/.exec(given) ?? [];
    if (sequence !== undefined && hash !== undefined) return { sequence: Number(sequence), hash };
    throw new CommandFailed(EXIT.USAGE, `--head "${given}" is not NUMBER:HASH of 64 hex digits.`);
  }
  if (textOption(command, 'folder') !== undefined) return undefined;
  try {
    const { client } = await clientOf(context, command);
    const answer = await client.own('GetTrailHead');
    return { sequence: numberOf(answer, 'Sequence'), hash: textOf(answer, 'Hash') };
  } catch (cause) {
    // A service that is down or says no leaves the files; what cannot be told then is said below.
    if (cause instanceof CommandFailed) return undefined;
    throw cause;
  }
}

function lines(found: Verification, hasHead: boolean): readonly string[] {
  const { files, records, first, head, problems, notices } = found;
  const what = `${records} records in ${files} files, ${first?.sequence ?? 0} to ${head.sequence}`;
  return [
    problems.length === 0 ? `Whole: ${what}.` : `NOT WHOLE: ${what}.`,
    ...problems.map((problem) => `  ${problem}`),
    ...notices.map((notice) => `  the service noted: ${notice}`),
    ...(hasHead ? [] : ['No head to compare with: whether the end was cut off cannot be told.']),
    `Head: ${head.sequence}:${head.hash}`,
  ];
}

const jsonOf = (found: Verification, hasHead: boolean): JsonObject => ({
  IsWhole: found.problems.length === 0,
  HasHead: hasHead,
  Files: found.files,
  Records: found.records,
  FirstSequence: found.first?.sequence,
  Sequence: found.head.sequence,
  Hash: found.head.hash,
  Problems: found.problems,
  Notices: found.notices,
});
