/**
 * `keyark up`: starts the service as a child, makes the ready-made cluster as an ordinary client, says what
 * there is, and stays. When the service ends, this ends with its code.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import { type Config, settingNames } from '../../config.ts';
import { MINUTE_MS } from '../../kernel/clock.ts';
import { Client } from '../client.ts';
import { type Context, configOf, withSettings } from '../context.ts';
import { CustomerFolder } from '../customer.ts';
import { addToEnvironment, environmentMark, findEndpoint } from '../environment.ts';
import { EXIT } from '../exit-codes.ts';
import { firstScreen } from '../first-screen.ts';
import { makeReady } from '../ready-made.ts';
import { waitFor } from '../wait.ts';

const ANSWER_MS = MINUTE_MS;
const MAX_HELD_LINES = 1_000;

export function addUp(program: Command, context: Context): void {
  const command = program
    .command('up')
    .description('a running service with a ready-made cluster and a proven backup')
    .addHelpText(
      'after',
      '\nExample:\n  keyark up                                   data in ~/.local/share/keyark (root: /var/lib/keyark)\n  keyark up --data ./try --port 0\n\nStays in the foreground; ends with 0 on SIGTERM or Ctrl-C.',
    );
  withSettings(command, settingNames()).action(async () => {
    const { config, file } = configOf(context, command);
    context.endWith(await up(context, config, file));
  });
}

async function up(context: Context, config: Config, file: string | undefined): Promise<number> {
  const before = await environmentMark(config.data);
  const service = startService(config, file, context);
  const stop = (): void => service.stop();
  process.on('SIGTERM', stop).on('SIGINT', stop);
  try {
    await Promise.race([greet(context, config, before, service), service.ended]);
  } catch (cause) {
    service.releaseLog();
    // A service that ended by itself has said why; what we missed from it is no second problem.
    if (service.isEnding()) return await service.ended;
    context.print.endProgress();
    service.stop();
    await service.ended;
    throw cause;
  }
  return await service.ended;
}

/** Waits for the service, makes what is missing, prints the first screen. */
async function greet(
  context: Context,
  config: Config,
  before: string | undefined,
  service: Service,
): Promise<void> {
  const { signal } = service;
  context.print.progress('starting the service …');
  await waitFor(
    context.clock,
    { until: 'the service answers', atMostMs: ANSWER_MS, everyMs: 25, signal },
    async () => {
      const mark = await environmentMark(config.data);
      return mark === undefined || mark === before ? undefined : mark;
    },
  );
  const client = new Client(await findEndpoint(config.data, {}), context.clock);
  const status = await client.own('GetStatus');
  if (isLocked(status)) {
    context.print.note(
      '[ROOTS_LOCKED] Keyark runs but its roots are locked, so no HSM can start. Unlock: `keyark unlock`. Waiting.',
    );
    await waitFor(
      context.clock,
      { until: 'the roots are unlocked', atMostMs: Number.MAX_SAFE_INTEGER, everyMs: 500, signal },
      async () => (isLocked(await client.own('GetStatus')) ? undefined : true),
    );
  }
  const customer = new CustomerFolder({ ...context, data: config.data, name: config.home.name });
  const made = await makeReady({ client, customer, context, home: config.home, signal });
  await addToEnvironment(
    config.data,
    new Map([
      ['KEYARK_CLUSTER_ID', made.clusterId],
      ['KEYARK_PIN', made.pin],
    ]),
  );
  const lines = await firstScreen({ context, client, config, customer, made });
  for (const line of lines) context.print.line(line);
}

function isLocked(status: Awaited<ReturnType<Client['own']>>): boolean {
  const roots = status['Roots'];
  return (
    typeof roots === 'object' && roots !== null && 'AreLocked' in roots && roots.AreLocked === true
  );
}

interface Service {
  /** Aborts when the service ends or is asked to. */
  readonly signal: AbortSignal;
  readonly ended: Promise<number>;
  isEnding(): boolean;
  stop(): void;
  /** Shows the log lines that were held back for a quiet first screen. */
  releaseLog(): void;
}

function startService(config: Config, file: string | undefined, context: Context): Service {
  const program = join(import.meta.dirname, '..', '..', '..', 'bin', 'keyark.ts');
  // On a terminal people read one screen, not a log around it; elsewhere the log goes straight on.
  const isHeld = context.around.isTerminal;
  const child = spawn(process.execPath, [program, 'serve', ...flagsFor(config, file)], {
    // The channel carries nothing; its end tells the service that this process is gone.
    stdio: ['ignore', 'inherit', isHeld ? 'pipe' : 'inherit', 'ipc'],
  });
  const ending = new AbortController();
  const ended = new Promise<number>((resolve) => {
    child.once('exit', (code, signal) => {
      ending.abort(new Error('the service ended'));
      resolve(code ?? (signal === null ? EXIT.OK : EXIT.FAILED));
    });
  });
  const held = isHeld ? holdLines(child, context) : undefined;
  return {
    signal: ending.signal,
    ended,
    isEnding: () => ending.signal.aborted,
    stop: () => {
      ending.abort(new Error('asked to end'));
      if (child.exitCode === null) child.kill('SIGTERM');
    },
    releaseLog: () => held?.release(),
  };
}

function holdLines(child: ChildProcess, { print }: Context): { release(): void } {
  const kept: string[] = [];
  if (child.stderr !== null) {
    createInterface({ input: child.stderr }).on('line', (line) => {
      if (kept.length < MAX_HELD_LINES) kept.push(line);
    });
  }
  return {
    release: () => {
      for (const line of kept.splice(0)) print.note(line);
    },
  };
}

/** The same settings for the child, whatever gave them to us. */
function flagsFor(config: Config, file: string | undefined): readonly string[] {
  const { schedule, log, tls } = config;
  const pairs: readonly (readonly [string, string | undefined])[] = [
    ['--config', file],
    ['--data', config.data],
    ['--host', config.host],
    ['--port', String(config.port)],
    ['--tls-cert', tls?.certFile],
    ['--tls-key', tls?.keyFile],
    ['--region', config.regions.join(',')],
    ['--account', config.account],
    ['--backup-on-change', String(schedule.isChangeDriven)],
    ['--backup-quiet', String(schedule.quietMs / 1000)],
    ['--backup-latest', String(schedule.latestMs / 1000)],
    ['--log-level', log.level],
    ['--log-format', log.format],
  ];
  return pairs.flatMap(([flag, value]) => (value === undefined ? [] : [flag, value]));
}
