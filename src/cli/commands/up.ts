/**
 * `keyark up`: starts the service as a child, makes the ready-made cluster as an ordinary client, says what
 * there is, and stays. When the service ends, this ends with its code.
 */
import type { Command } from 'commander';
import type { Config } from '../../config.ts';
import { settingNames } from '../../settings.ts';
import type { Client } from '../client.ts';
import { type Context, configToStart, withRehearsal, withSettings } from '../context.ts';
import { CustomerFolder } from '../customer.ts';
import { addToEnvironment, environmentMark, removeEnvironment } from '../environment.ts';
import { firstScreen } from '../first-screen.ts';
import { makeReady } from '../ready-made.ts';
import { clientOf, type ServiceProcess, startServiceProcess } from '../service-process.ts';
import { waitFor } from '../wait.ts';

export function addUp(program: Command, context: Context): void {
  const command = program
    .command('up')
    .description('a running service with a ready-made cluster and a proven backup')
    .addHelpText(
      'after',
      '\nExample:\n  keyark up                                   data in ~/.local/share/keyark (root: /var/lib/keyark)\n  keyark up --data ./try --port 0\n\nStays in the foreground; ends with 0 on SIGTERM or Ctrl-C.',
    );
  withSettings(withRehearsal(command), settingNames()).action(async () => {
    const { config, file, isRehearsal } = configToStart(context, command);
    context.endWith(await up(context, config, { file, isRehearsal }));
  });
}

async function up(
  context: Context,
  config: Config,
  given: { file: string | undefined; isRehearsal: boolean },
): Promise<number> {
  const before = await environmentMark(config.data);
  // On a terminal people read one screen, not a log around it; elsewhere the log goes straight on.
  const isLogHeld = context.around.isTerminal;
  const service = startServiceProcess(config, context, { isLogHeld, ...given });
  const stop = (): void => service.stop();
  process.on('SIGTERM', stop).on('SIGINT', stop);
  let mark: string | undefined;
  const onWritten = (written: string | undefined): void => {
    mark = written;
  };
  try {
    context.print.progress('starting the service …');
    const client = await clientOf(service, { config, context, before });
    await Promise.race([greet({ context, config, client, service, onWritten }), service.ended]);
  } catch (cause) {
    service.releaseLog();
    // A service that ended by itself has said why; what we missed from it is no second problem.
    if (service.isEnding()) return await service.ended;
    context.print.endProgress();
    service.stop();
    await service.ended;
    throw cause;
  }
  const code = await service.ended;
  await removeEnvironment(config.data, mark);
  return code;
}

interface GreetParts {
  readonly context: Context;
  readonly config: Config;
  readonly client: Client;
  readonly service: ServiceProcess;
  /** Told the mark of `DATA/env` once it is this process's. */
  readonly onWritten: (mark: string | undefined) => void;
}

/** What is wrong with the ready-made cluster is no reason to end a service that may have to restore it. */
async function greet(parts: GreetParts): Promise<void> {
  const { context, config, service } = parts;
  try {
    await introduce(parts);
  } catch (cause) {
    if (service.isEnding()) throw cause;
    service.releaseLog();
    const why = cause instanceof Error ? cause.message : String(cause);
    for (const line of notReady(why, config, parts.client)) context.print.note(line);
  }
}

function notReady(why: string, { data, home }: Config, { endpoint }: Client): readonly string[] {
  return [
    `[NOT_READY] ${why}`,
    `Keyark runs all the same: ${endpoint.url.origin}, data in ${data}; the cluster "${home.name}" was left as it is.`,
    `  what is wrong         keyark status --data ${data}`,
    `  what can be restored  keyark backup list --data ${data}`,
    `  onto a new HSM        keyark aws --data ${data} cloudhsmv2 create-hsm --cluster-id … --availability-zone ${endpoint.region}a`,
    'Stop with Ctrl-C.',
  ];
}

/** Makes what is missing, prints the first screen. */
async function introduce({
  context,
  config,
  client,
  service,
  onWritten,
}: GreetParts): Promise<void> {
  const { signal } = service;
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
  const added = new Map([
    ['KEYARK_CLUSTER_ID', made.clusterId],
    ['KEYARK_PIN', made.pin],
  ]);
  onWritten(await addToEnvironment(config.data, added));
  const lines = await firstScreen({ context, client, config, customer, made });
  for (const line of lines) context.print.line(line);
}

function isLocked(status: Awaited<ReturnType<Client['own']>>): boolean {
  const roots = status['Roots'];
  return (
    typeof roots === 'object' && roots !== null && 'AreLocked' in roots && roots.AreLocked === true
  );
}
