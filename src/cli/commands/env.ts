/** `keyark env`: lines for a shell that make AWS's clients talk to this Keyark. */
import type { Command } from 'commander';
import { installedAws, tooOld } from '../aws-tool.ts';
import { type Context, configOf, hasOption, withData, withJson } from '../context.ts';
import { findEndpoint, readEnvironment } from '../environment.ts';

export function addEnv(program: Command, context: Context): void {
  const command = program
    .command('env')
    .description('print the variables that clients need, for `eval`')
    .addHelpText('after', '\nExample:\n  eval "$(keyark env)"');
  withJson(withData(command)).action(async () => {
    const { config } = configOf(context, command);
    const { data } = config;
    const { url } = await findEndpoint(config, context.around.env);
    const variables = new Map([...((await readEnvironment(data)) ?? []), ['KEYARK_DATA', data]]);
    if (hasOption(command, 'json')) {
      context.print.json(Object.fromEntries(variables));
      return;
    }
    for (const [name, value] of variables) {
      context.print.line(`export ${name}='${value.replaceAll("'", "'\\''")}'`);
    }
    const aws = await installedAws(context.around.env);
    if (aws !== undefined && !aws.obeysEndpointVariables) context.print.note(tooOld(aws, url));
  });
}
