/** `keyark clock`: the service's time, whether it is trusted, and on a rehearsal how it is moved. */
import type { Command } from 'commander';
import { isoTime } from '../../kernel/clock.ts';
import type { EpochMs, JsonObject } from '../../kernel/types.ts';
import { confirm } from '../confirm.ts';
import { type Context, clientOf, hasOption, withData, withJson } from '../context.ts';
import { numberOf, optionalObject } from '../json.ts';
import { stepLine } from '../marks.ts';
import { duration } from '../print.ts';
import { parseDuration } from '../time-words.ts';

export function addClock(program: Command, context: Context): void {
  const clock = program
    .command('clock')
    .description("the service's time: show, confirm after a step, advance on a rehearsal")
    .addHelpText('after', '\nExample:\n  keyark clock show');

  const show = clock
    .command('show', { isDefault: true })
    .description('what time it is for the service, and whether anything may be purged by it')
    .addHelpText('after', '\nExample:\n  keyark clock\n  keyark clock show --json');
  withJson(withData(show)).action(async () => {
    const { client } = await clientOf(context, show);
    print(context, await client.own('GetClock'), hasOption(show, 'json'));
  });

  const confirmStep = clock
    .command('confirm')
    .description('after a step of the clock: it is right now, purging may go on')
    .option('--yes', 'do not ask')
    .addHelpText('after', '\nExample:\n  keyark clock confirm');
  withJson(withData(confirmStep)).action(async () => {
    const { client } = await clientOf(context, confirmStep);
    const now = await client.own('GetClock');
    if (optionalObject(now, 'Step') !== undefined) {
      const plan = [
        `The service's clock says ${timeOf(now)}.`,
        '  If that is right, backups whose time is over are purged from now on. This cannot be undone.',
      ];
      await confirm(context, { plan, name: 'yes', isYes: hasOption(confirmStep, 'yes') });
    }
    print(context, await client.own('ConfirmClock'), hasOption(confirmStep, 'json'));
  });

  const advance = clock
    .command('advance')
    .description("move a rehearsal's time forward; every other service refuses")
    .argument('<duration>', '90m, 8d, 1w, 1d12h')
    .addHelpText('after', '\nExample:\n  keyark clock advance 8d');
  withJson(withData(advance)).action(async (text: string) => {
    const ms = parseDuration(text);
    const { client } = await clientOf(context, advance);
    const answer = await client.own('AdvanceClock', { Seconds: ms / 1000 });
    print(context, answer, hasOption(advance, 'json'));
  });
}

function print({ print: out }: Context, clock: JsonObject, isJson: boolean): void {
  if (isJson) {
    out.json(clock);
    return;
  }
  const aheadMs = numberOf(clock, 'AheadSeconds') * 1000;
  const mark = clock['IsRehearsal'] === true ? 'REHEARSAL  ' : '';
  const ahead = aheadMs > 0 ? `, ${duration(aheadMs)} ahead of the machine` : '';
  out.line(`${mark}${timeOf(clock)}${ahead}`);
  const step = optionalObject(clock, 'Step');
  if (step !== undefined) out.line(stepLine(step));
  else if (clock['IsPurging'] !== true) {
    out.line('Nothing is purged in the first minutes after the machine has started.');
  }
}

// Seconds times a thousand are what EpochMs brands.
const timeOf = (clock: JsonObject): string =>
  isoTime(Math.round(numberOf(clock, 'Now') * 1000) as EpochMs);
