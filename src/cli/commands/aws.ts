/** `keyark aws …`: the installed AWS CLI, pointed at this Keyark, whatever its version understands. */
import { spawn } from 'node:child_process';
import type { Command } from 'commander';
import { type Context, configOf, textOption, withData } from '../context.ts';
import { asInShell, findEndpoint } from '../environment.ts';
import { CommandFailed, EXIT } from '../exit-codes.ts';

export function addAws(program: Command, context: Context): void {
  const command = program
    .command('aws')
    .description('run the installed AWS CLI against this Keyark')
    .argument('<words...>', 'what `aws` is given')
    .passThroughOptions()
    .addHelpText('after', '\nExample:\n  keyark aws cloudhsmv2 describe-clusters');
  withData(command).action(async (words: readonly string[]) => {
    const { config } = configOf(context, command);
    const around = context.around.env;
    const found = asInShell(await findEndpoint(config, around), around);
    const { url, accessKeyId, secretAccessKey, sessionToken } = found;
    const region = textOption(command, 'region') ?? found.region;
    // Given as an option and as variables: old versions look at the first only. A profile or a session
    // token of the real AWS must not slip in; one of this Keyark comes back below.
    const { AWS_PROFILE, AWS_SESSION_TOKEN, AWS_DEFAULT_PROFILE, ...env } = context.around.env;
    const code = await run('aws', ['--endpoint-url', url.href.replace(/\/$/, ''), ...words], {
      AWS_PAGER: '',
      ...env,
      AWS_ENDPOINT_URL: url.origin,
      AWS_ENDPOINT_URL_CLOUDHSM_V2: url.origin,
      AWS_REGION: region,
      AWS_DEFAULT_REGION: region,
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      ...(sessionToken === undefined ? {} : { AWS_SESSION_TOKEN: sessionToken }),
      AWS_EC2_METADATA_DISABLED: 'true',
    });
    context.endWith(code);
  });
}

function run(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'inherit', env: { ...env } });
    child.on('error', (cause) => {
      reject(
        new CommandFailed(
          EXIT.TOOL_MISSING,
          '[NO_AWS_CLIENT] There is no `aws` in the path. Install it (Debian: apt install awscli), or use any AWS SDK with `keyark env`.',
          { cause },
        ),
      );
    });
    child.on('exit', (code) => resolve(code ?? EXIT.FAILED));
  });
}
