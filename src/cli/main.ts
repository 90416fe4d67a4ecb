/** The command line: which commands there are, and what their failures look like from outside. */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { ConfigProblems } from '../config.ts';
import { systemClock } from '../kernel/clock.ts';
import { Failed, Refused } from '../kernel/errors.ts';
import { systemRandom } from '../kernel/random.ts';
import type { Context } from './context.ts';
import { CommandFailed, EXIT, EXIT_MEANINGS } from './exit-codes.ts';
import { createPrinter } from './print.ts';

/** Adds commands to the program. */
type Add = (program: Command, context: Context) => void;

/**
 * First words and whose they are, in the order of `keyark --help`: start, look, work, keep house. Only what was
 * asked for is loaded, because loading all takes longer than most commands do.
 */
const COMMANDS: Readonly<Record<string, () => Promise<readonly Add[]>>> = {
  up: async () => [(await import('./commands/up.ts')).addUp],
  serve: async () => [(await import('./commands/serve.ts')).addServe],
  stop: async () => [(await import('./commands/stop.ts')).addStop],
  status: async () => [(await import('./commands/status.ts')).addStatus],
  forecast: async () => [(await import('./commands/forecast.ts')).addForecast],
  demo: async () => [(await import('./commands/demo.ts')).addDemo],
  env: async () => [(await import('./commands/env.ts')).addEnv],
  aws: async () => [(await import('./commands/aws.ts')).addAws],
  cluster: async () => [(await import('./commands/cluster.ts')).addCluster],
  backup: async () => [
    (await import('./commands/backup.ts')).addBackup,
    (await import('./commands/backup-copy.ts')).addBackupCopy,
  ],
  restore: async () => [(await import('./commands/restore.ts')).addRestore],
  'copy-rule': async () => [(await import('./commands/copy-rule.ts')).addCopyRule],
  share: async () => [(await import('./commands/share.ts')).addShare],
  hold: async () => [(await import('./commands/hold.ts')).addHold],
  user: async () => [(await import('./commands/user.ts')).addUser],
  key: async () => [(await import('./commands/key.ts')).addKey],
  policy: async () => [(await import('./commands/policy.ts')).addPolicy],
  'hsm-info': async () => [(await import('./commands/hsm-info.ts')).addHsmInfo],
  account: async () => [(await import('./commands/account.ts')).addAccount],
  iam: async () => [(await import('./commands/iam.ts')).addIam],
  credential: async () => [(await import('./commands/credential.ts')).addCredential],
  audit: async () => [(await import('./commands/audit.ts')).addAudit],
  unlock: async () => [(await import('./commands/unlock.ts')).addUnlock],
  host: async () => [(await import('./commands/host.ts')).addHost],
  clock: async () => [(await import('./commands/clock.ts')).addClock],
  config: async () => [(await import('./commands/config.ts')).addConfig],
};

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
    await runProgram(args, context);
    return code;
  } catch (cause) {
    return failureCode(cause, context);
  }
}

/** @throws CommandFailed, CommanderError, and whatever a command does. */
export async function runProgram(args: readonly string[], context: Context): Promise<void> {
  const program = await programOf(context, args[0]);
  await program.parseAsync([...args], { from: 'user' });
}

/** @param word the command that is wanted, which alone is loaded; all of them if there is none of that name. */
export async function programOf(context: Context, word = ''): Promise<Command> {
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
  const wanted = Object.hasOwn(COMMANDS, word) ? [COMMANDS[word]] : Object.values(COMMANDS);
  for (const load of wanted) {
    for (const add of (await load?.()) ?? []) add(program, context);
  }
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
