/** What every command works with, handed in once by `main.ts`; and the options that many share. */
import type { Command } from 'commander';
import { type LoadedConfig, loadConfig } from '../config.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Random } from '../kernel/random.ts';
import { SETTINGS, type SettingName, type Surroundings, settingNames } from '../settings.ts';
import { Client } from './client.ts';
import { asInShell, findEndpoint, readEnvironment } from './environment.ts';
import type { Printer } from './print.ts';

export interface Context {
  readonly print: Printer;
  readonly clock: Clock;
  readonly random: Random;
  readonly around: Surroundings;
  /** For commands whose exit code is somebody else's. */
  endWith(code: number): void;
}

/** Adds flags for these settings, and `--config`. */
export function withSettings(command: Command, names: readonly SettingName[]): Command {
  for (const name of names) {
    const { flag, help, variable } = SETTINGS[name];
    command.option(`${flag} <value>`, `${help} (${variable})`);
  }
  return command.option('--config <file>', 'configuration file (KEYARK_CONFIG)');
}

/** For commands that only need to find a running service. */
export function withData(command: Command): Command {
  return withSettings(command, ['data']).option(
    '--region <name>',
    "in this region (AWS_REGION; default: the service's first)",
  );
}

export function withJson(command: Command): Command {
  return command.option('--json', 'print JSON');
}

export function withRehearsal(command: Command): Command {
  return command.option(
    '--rehearsal',
    'on a new data folder, marked for ever: its time can be moved (default folder: …-rehearsal)',
  );
}

/** The settings for a service that is started; a rehearsal never lands in the ordinary folder by default. */
export function configToStart(
  context: Context,
  command: Command,
): LoadedConfig & { readonly isRehearsal: boolean } {
  const loaded = configOf(context, command);
  const isRehearsal = hasOption(command, 'rehearsal');
  const isDefault = loaded.settings.some(
    ({ name, origin }) => name === 'data' && origin === 'default',
  );
  if (!isRehearsal || !isDefault) return { ...loaded, isRehearsal };
  const data = `${loaded.config.data}-rehearsal`;
  return { ...loaded, config: { ...loaded.config, data }, isRehearsal };
}

/** What the command's flags, the variables and the file say together. @throws ConfigProblems. */
export function configOf(context: Context, command: Command): LoadedConfig {
  return loadConfig(flagsOf(command), context.around, textOption(command, 'config'));
}

export function flagsOf(command: Command): { readonly [Name in SettingName]?: string } {
  const flags: { [Name in SettingName]?: string } = {};
  for (const name of settingNames()) {
    const value = textOption(command, attributeOf(SETTINGS[name].flag));
    if (value !== undefined) flags[name] = value;
  }
  return flags;
}

export function textOption(command: Command, name: string): string | undefined {
  const value: unknown = command.opts()[name];
  return typeof value === 'string' ? value : undefined;
}

export function hasOption(command: Command, name: string): boolean {
  return command.opts()[name] === true;
}

/** The service that runs on this data folder. @throws CommandFailed `NOT_RUNNING`. */
export async function clientOf(
  context: Context,
  command: Command,
): Promise<{ client: Client; data: string; clusterId: string | undefined }> {
  const { config } = configOf(context, command);
  const { data } = config;
  const { env } = context.around;
  const found = asInShell(await findEndpoint(config, env), env);
  const region = textOption(command, 'region');
  const endpoint = region === undefined ? found : { ...found, region };
  const fromFile = (await readEnvironment(data))?.get('KEYARK_CLUSTER_ID');
  return {
    client: new Client(endpoint, context.clock),
    data,
    clusterId: fromFile ?? context.around.env['KEYARK_CLUSTER_ID'],
  };
}

/** `--tls-cert` → `tlsCert`, as commander names it. */
function attributeOf(flag: string): string {
  return flag.slice(2).replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
