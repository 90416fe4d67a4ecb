/** `keyark serve`: the bare service in the foreground. */
import type { Command } from 'commander';
import { settingNames } from '../../settings.ts';
import { type Context, configToStart, withRehearsal, withSettings } from '../context.ts';

export function addServe(program: Command, context: Context): void {
  const command = program
    .command('serve')
    .description('run the service in the foreground, without a ready-made cluster')
    .addHelpText(
      'after',
      '\nExample:\n  keyark serve --data ./data --port 0     then: . ./data/env\n\nWrites DATA/env when it answers; ends with 0 on SIGTERM or SIGINT.',
    );
  const names = settingNames().filter((name) => !name.startsWith('home'));
  withSettings(withRehearsal(command), names).action(async () => {
    const { config, isRehearsal } = configToStart(context, command);
    stopWithParent();
    // The service is most of the program: other commands need not wait for it to load.
    const { runServe } = await import('../../serve.ts');
    context.endWith(await runServe({ ...config, isRehearsal }));
  });
}

/** Started by `keyark up`: when that dies, however it dies, this ends too. */
function stopWithParent(): void {
  if (process.connected !== true) return;
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  // The channel says only this one thing; it must not keep the process alive.
  process.channel?.unref();
}
