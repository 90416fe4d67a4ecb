/** `keyark demo`: the whole story on a throw-away folder, with real processes, and a table at the end. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { Config } from '../../config.ts';
import { type Context, configOf, hasOption, withJson } from '../context.ts';
import { CustomerFolder } from '../customer.ts';
import { type DemoRow, runDemo } from '../demo.ts';
import { askOperator } from '../operator.ts';
import { clientOf, startServiceProcess } from '../service-process.ts';

export function addDemo(program: Command, context: Context): void {
  const command = program
    .command('demo')
    .description('watch a cluster lose every HSM and come back with the same keys')
    .addHelpText(
      'after',
      '\nExample:\n  keyark demo\n\nWorks in a throw-away folder and leaves nothing. Ends with 0 only if every step held.',
    );
  withJson(command).action(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'keyark-demo-'));
    try {
      const { config } = configOf(context, command);
      // The story needs backups on request, which the other profile refuses.
      const profile = 'own';
      const own = { ...config, profile, data: folder, host: '127.0.0.1', port: 0 } as const;
      const rows = await demo(context, own);
      if (hasOption(command, 'json'))
        context.print.json({ profile, steps: rows.map((row) => ({ ...row })) });
      else print(context, profile, rows);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
}

async function demo(context: Context, given: Config): Promise<readonly DemoRow[]> {
  const { tls: _tls, ...config } = given;
  const service = startServiceProcess(config, context, { isLogHeld: true, file: undefined });
  const stop = (): void => service.stop();
  process.on('SIGTERM', stop).on('SIGINT', stop);
  try {
    const client = await clientOf(service, { config, context, before: undefined });
    return await runDemo({
      client,
      context,
      customer: new CustomerFolder({ ...context, data: config.data, name: 'demo' }),
      createMaker: async (name) => {
        await askOperator(config.data, 'maker-create', { name });
      },
      signal: service.signal,
    });
  } catch (cause) {
    service.releaseLog();
    throw cause;
  } finally {
    service.stop();
    await service.ended;
  }
}

function print({ print }: Context, profile: string, rows: readonly DemoRow[]): void {
  print.table(
    ['step', 'ms', 'result'],
    rows.map(({ step, ms, result }) => [step, String(ms), result]),
  );
  print.line();
  print.line(`All of it held, in the profile ${profile}. The folder it ran in is gone.`);
}
