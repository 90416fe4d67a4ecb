/** The command line: which commands there are, and what their failures look like from outside. */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { ConfigProblems } from '../config.ts';
import { systemClock } from '../kernel/clock.ts';
import { Failed, Refused } from '../kernel/errors.ts';
import { systemRandom } from '../kernel/random.ts';
import { addAccount } from './commands/account.ts';
import { addAudit } from './commands/audit.ts';
import { addAws } from './commands/aws.ts';
import { addBackup } from './commands/backup.ts';
import { addBackupCopy } from './commands/backup-copy.ts';
import { addClock } from './commands/clock.ts';
import { addCluster } from './commands/cluster.ts';
import { addConfig } from './commands/config.ts';
import { addCopyRule } from './commands/copy-rule.ts';
import { addCredential } from './commands/credential.ts';
import { addDemo } from './commands/demo.ts';
import { addEnv } from './commands/env.ts';
import { addForecast } from './commands/forecast.ts';
import { addHold } from './commands/hold.ts';
import { addHost } from './commands/host.ts';
import { addHsmInfo } from './commands/hsm-info.ts';
import { addIam } from './commands/iam.ts';
import { addKey } from './commands/key.ts';
import { addPolicy } from './commands/policy.ts';
import { addRestore } from './commands/restore.ts';
import { addServe } from './commands/serve.ts';
import { addShare } from './commands/share.ts';
import { addStatus } from './commands/status.ts';
import { addStop } from './commands/stop.ts';
import { addUnlock } from './commands/unlock.ts';
import { addUp } from './commands/up.ts';
import { addUser } from './commands/user.ts';
import type { Context } from './context.ts';
import { CommandFailed, EXIT, EXIT_MEANINGS } from './exit-codes.ts';
import { createPrinter } from './print.ts';

/** In the order of `keyark --help`: start, look, work, keep house. */
const COMMANDS: readonly ((program: Command, context: Context) => void)[] = [
  addUp,
  addServe,
  addStop,
  addStatus,
  addForecast,
  addDemo,
  addEnv,
  addAws,
  addCluster,
  addBackup,
  addRestore,
  addBackupCopy,
  addCopyRule,
  addShare,
  addHold,
  addUser,
  addKey,
  addPolicy,
  addHsmInfo,
  addAccount,
  addIam,
  addCredential,
  addAudit,
  addUnlock,
  addHost,
  addClock,
  addConfig,
];

/** @returns the exit code; never throws for what a person can do something about. */
export async function main(args: readonly string[]): Promise<number> {
  let code: number = EXIT.OK;
  const context: Context = {
    print: createPrinter(process.stdout, process.stderr),
    clock: systemClock,
    random: systemRandom,
    around: {
      isRoot: process.getuid?.() === 0,
      home: process.env['HOME'] ?? homedir(),
      cwd: process.cwd(),
      env: process.env,
      isTerminal: process.stderr.isTTY === true,
    },
    endWith: (given) => {
      code = given;
    },
  };
  process.stdout.on('error', endOfPipe);
  try {
    await programOf(context).parseAsync([...args], { from: 'user' });
    return code;
  } catch (cause) {
    return failureCode(cause, context);
  }
}

export function programOf(context: Context): Command {
  const program = new Command('keyark')
    .description('Your own HSM cluster, with backups that were restored before they count.')
    .version(versionText(), '-V, --version')
    .showHelpAfterError('See `keyark --help`.')
    .exitOverride()
    .enablePositionalOptions()
    .addHelpText(
      'after',
      '\nExamples:\n  keyark up                  a running cluster with a proven backup\n  keyark status              what would be survived today\n  keyark help exit-codes     what exit codes mean',
    );
  program.helpCommand(false);
  for (const add of COMMANDS) add(program, context);
  addHelp(program, context);
  return program;
}

function addHelp(program: Command, { print }: Context): void {
  program
    .command('help')
    .description('help for a command; `help exit-codes` lists the exit codes')
    .argument('[words...]', 'a command, or exit-codes')
    .addHelpText('after', '\nExample:\n  keyark help cluster activate')
    .action((words: readonly string[]) => {
      if (words[0] === 'exit-codes') {
        const rows = Object.entries(EXIT).map(([name, number]) => {
          const meaning = Object.entries(EXIT_MEANINGS).find(([each]) => each === name)?.[1];
          return [String(number), name, meaning ?? ''];
        });
        print.table(['code', 'name', 'meaning'], rows);
        return;
      }
      let found: Command | undefined = program;
      for (const word of words) found = found?.commands.find((each) => each.name() === word);
      if (found === undefined) {
        throw new CommandFailed(EXIT.USAGE, `There is no command ${words.join(' ')}.`);
      }
      found.outputHelp();
    });
}

/** A person sees a sentence; only what is our own mistake shows a stack. */
function failureCode(cause: unknown, { print }: Context): number {
  print.endProgress();
  if (cause instanceof CommanderError) {
    // Commander has said it already.
    return cause.exitCode === 0 ? EXIT.OK : EXIT.USAGE;
  }
  if (cause instanceof CommandFailed) {
    print.note(cause.message);
    return cause.exitCode;
  }
  if (cause instanceof ConfigProblems) {
    for (const problem of cause.problems) print.note(problem);
    return EXIT.CONFIG;
  }
  if (cause instanceof Refused) {
    print.note(cause.message);
    if (cause.code === 'InUse') return EXIT.IN_USE;
    return cause.code === 'RootsLocked' ? EXIT.ROOTS_LOCKED : EXIT.REFUSED;
  }
  if (cause instanceof Failed) {
    print.note(withReason(cause));
    return EXIT.FAILED;
  }
  if (cause instanceof Error && cause.name === 'AbortError') {
    print.note(`Not done: ${cause.cause instanceof Error ? cause.cause.message : 'interrupted'}.`);
    return EXIT.FAILED;
  }
  print.note(cause instanceof Error ? (cause.stack ?? cause.message) : String(cause));
  return EXIT.FAILED;
}

/** The message and, after a colon, what lay behind it. */
function withReason(failed: Failed): string {
  const { cause } = failed;
  return cause instanceof Error && cause.message !== '' && !failed.message.includes(cause.message)
    ? `${failed.message}: ${cause.message}`
    : failed.message;
}

/** `keyark … | head`: the reader has seen enough. */
function endOfPipe(cause: Error & { code?: string }): void {
  if (cause.code === 'EPIPE') process.exit(EXIT.OK);
  throw cause;
}

function versionText(): string {
  const file = join(import.meta.dirname, '..', '..', 'package.json');
  // Our own file; a missing version would print as undefined, which harms nobody.
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string };
  return `${version} (Node ${process.versions.node})`;
}
