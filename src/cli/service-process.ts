/** `keyark serve` as a child of this command: started with our settings, watched, ended with us. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Config } from '../config.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../kernel/clock.ts';
import { Client } from './client.ts';
import type { Context } from './context.ts';
import { environmentMark, findEndpoint } from './environment.ts';
import { EXIT } from './exit-codes.ts';
import { waitFor } from './wait.ts';

const ANSWER_MS = MINUTE_MS;
const MAX_HELD_LINES = 1_000;

export interface ServiceProcess {
  /** Aborts when the service ends or is asked to. */
  readonly signal: AbortSignal;
  readonly ended: Promise<number>;
  isEnding(): boolean;
  stop(): void;
  /** Shows the log lines that were held back for a quiet first screen. */
  releaseLog(): void;
}

/**
 * @param given.isLogHeld keeps the log's lines back until `releaseLog`, for a quiet screen.
 * @param given.file the configuration file, if one was read.
 */
export function startServiceProcess(
  config: Config,
  context: Context,
  given: { isLogHeld: boolean; file: string | undefined; isRehearsal?: boolean },
): ServiceProcess {
  const program = join(import.meta.dirname, '..', '..', 'bin', 'keyark.ts');
  const flags = [...flagsFor(config, given.file), ...(given.isRehearsal ? ['--rehearsal'] : [])];
  const child = spawn(process.execPath, [program, 'serve', ...flags], {
    // The channel carries nothing; its end tells the service that this process is gone.
    stdio: ['ignore', 'inherit', given.isLogHeld ? 'pipe' : 'inherit', 'ipc'],
  });
  const ending = new AbortController();
  const ended = new Promise<number>((resolve) => {
    child.once('exit', (code, signal) => {
      ending.abort(new Error('the service ended'));
      resolve(code ?? (signal === null ? EXIT.OK : EXIT.FAILED));
    });
  });
  const held = given.isLogHeld ? holdLines(child, context) : undefined;
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

/** @returns a client as soon as the service that was just started answers. @throws CommandFailed `TIMED_OUT`. */
export async function clientOf(
  service: ServiceProcess,
  { config, context, before }: { config: Config; context: Context; before: string | undefined },
): Promise<Client> {
  const { signal } = service;
  await waitFor(
    context.clock,
    { until: 'the service answers', atMostMs: ANSWER_MS, everyMs: 25, signal },
    async () => {
      const mark = await environmentMark(config.data);
      return mark === undefined || mark === before ? undefined : mark;
    },
  );
  return new Client(await findEndpoint(config, {}), context.clock);
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
  const { audit, heartbeat, log, schedule, tls } = config;
  const pairs: readonly (readonly [string, string | undefined])[] = [
    ['--config', file],
    ['--data', config.data],
    ['--host', config.host],
    ['--port', String(config.port)],
    ['--tls-cert', tls?.certFile],
    ['--tls-key', tls?.keyFile],
    ['--region', config.regions.join(',')],
    ['--account', config.account],
    ['--organization', config.organization.join(',')],
    ['--profile', config.profile],
    ['--backups-at-once', String(schedule.atOnce)],
    ['--heartbeat-url', heartbeat?.url],
    ['--heartbeat-every', heartbeat && String(heartbeat.everyMs / 1000)],
    ['--metrics-remote', String(config.metrics.isRemote)],
    ['--backup-on-change', String(schedule.isChangeDriven)],
    ['--backup-quiet', String(schedule.quietMs / 1000)],
    ['--backup-latest', String(schedule.latestMs / 1000)],
    ['--allow-hsm1', String(config.legacy.hsm1)],
    ['--restore-undo', String(config.restoreUndoMs / HOUR_MS)],
    ['--audit-days', String(audit.keepMs / DAY_MS)],
    ['--audit-file-mb', String(audit.fileBytes / 1_000_000)],
    ['--log-level', log.level],
    ['--log-format', log.format],
  ];
  return pairs.flatMap(([flag, value]) => (value === undefined ? [] : [flag, value]));
}
