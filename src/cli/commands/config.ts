/** `keyark config`: what is set, where it comes from, whether it is right. */
import type { Command } from 'commander';
import type { LoadedConfig } from '../../config.ts';
import { SETTINGS, settingNames } from '../../settings.ts';
import { type Context, configOf, hasOption, withJson, withSettings } from '../context.ts';

export function addConfig(program: Command, context: Context): void {
  const config = program
    .command('config')
    .description('show and check the settings')
    .addHelpText('after', '\nExample:\n  keyark config show');
  const show = config
    .command('show')
    .description('print every setting as it is in force')
    .option('--origin', 'and whether flag, variable, file or default says so')
    .addHelpText('after', '\nExample:\n  KEYARK_PORT=9000 keyark config show --origin');
  withJson(withSettings(show, settingNames())).action(() => {
    const loaded = configOf(context, show);
    if (hasOption(show, 'json')) printJson(context, loaded);
    else printTable(context, loaded, hasOption(show, 'origin'));
  });

  const check = config
    .command('check')
    .description('tell everything that is wrong with the settings, at once')
    .addHelpText('after', '\nExample:\n  keyark config check --config ./keyark.toml');
  withSettings(check, settingNames()).action(() => {
    const { file } = configOf(context, check);
    context.print.line(`Good. ${file === undefined ? 'No file; none is needed.' : file}`);
  });
}

function printTable({ print }: Context, { settings }: LoadedConfig, withOrigin: boolean): void {
  const rows = settings.map(({ name, value, origin, where }) => {
    const cells = [SETTINGS[name].name, value];
    return withOrigin ? [...cells, origin, where] : cells;
  });
  print.table(withOrigin ? ['setting', 'value', 'origin', 'where'] : ['setting', 'value'], rows);
}

function printJson({ print }: Context, { settings, file }: LoadedConfig): void {
  print.json({
    file,
    settings: settings.map(({ name, value, origin, where }) => ({
      name: SETTINGS[name].name,
      value,
      origin,
      where,
    })),
  });
}
