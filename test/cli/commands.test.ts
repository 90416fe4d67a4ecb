import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import type { Command } from 'commander';
import type { Context } from '../../src/cli/context.ts';
import { EXIT, EXIT_MEANINGS } from '../../src/cli/exit-codes.ts';
import { programOf } from '../../src/cli/main.ts';
import { createPrinter } from '../../src/cli/print.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { systemRandom } from '../../src/kernel/random.ts';
import { keyark } from '../support/command.ts';
import { tempFolder } from '../support/temp-folder.ts';

const CONTEXT: Context = {
  print: createPrinter(process.stdout, process.stderr),
  clock: systemClock,
  random: systemRandom,
  around: { isRoot: false, home: '/nowhere', cwd: '/nowhere', env: {}, isTerminal: false },
  endWith: () => {},
};

/** Commands that do something, with the words that lead to them. */
function leaves(command: Command, path: readonly string[] = []): [string, Command][] {
  if (command.commands.length === 0) return [[path.join(' '), command]];
  return command.commands.flatMap((each) => leaves(each, [...path, each.name()]));
}

function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({
    writeOut: (part) => {
      text += part;
    },
  });
  command.outputHelp();
  return text;
}

test('every command says in its help what it does and shows an example', async () => {
  const without = leaves(await programOf(CONTEXT))
    .filter(([path, command]) => {
      const help = helpOf(command);
      return command.description() === '' || !help.includes(`keyark ${path}`.trim());
    })
    .map(([path]) => path);
  assert.deepEqual(without, []);
  const program = await programOf(CONTEXT);
  const groups = program.commands.map((group): [string, Command] => [group.name(), group]);
  for (const [path, command] of [...groups, ...leaves(program)]) {
    assert.match(helpOf(command), /\nExamples?:\n/, path);
  }
});

test('no command takes a password, a PIN or a passphrase as an argument or an option', async () => {
  const flags = leaves(await programOf(CONTEXT)).flatMap(([path, command]) =>
    command.options.map((option) => ({ path, flags: option.flags })),
  );
  const wrong = flags.filter(
    ({ flags }) => /pass|pin\b|secret/i.test(flags) && !/-file </.test(flags),
  );
  assert.deepEqual(wrong, []);
});

test('every exit code is a number of its own and has a meaning', () => {
  const codes = Object.values(EXIT);
  assert.equal(new Set(codes).size, codes.length);
  assert.deepEqual(Object.keys(EXIT_MEANINGS), Object.keys(EXIT));
});

test('an unknown command or option ends with the code for usage', async () => {
  for (const args of [['frobnicate'], ['status', '--frob'], ['backup', 'proof']]) {
    const { code, stderr } = await keyark(args);
    assert.equal(code, EXIT.USAGE, args.join(' '));
    assert.match(stderr, /error/);
  }
});

test('a bad setting ends with the code for configuration and one line for each problem', async () => {
  const { code, stderr } = await keyark(['serve', '--port', '99999', '--account', 'x']);
  assert.equal(code, EXIT.CONFIG);
  assert.equal(stderr.trim().split('\n').length, 2);
});

test('commands that need a service say where to get one when none runs', async () => {
  await using folder = await tempFolder();
  for (const args of [['status'], ['env'], ['cluster', 'list'], ['host', 'status'], ['stop']]) {
    const { code, stderr } = await keyark([...args, '--data', folder.path]);
    assert.equal(code, EXIT.NOT_RUNNING, args.join(' '));
    assert.match(stderr, /\[NOT_RUNNING\]/);
  }
});

test('keyark config show --json names value and origin of each setting', async () => {
  await using folder = await tempFolder();
  const file = join(folder.path, 'keyark.toml');
  await writeFile(file, '[api]\nport = 4711\n');
  const { code, stdout } = await keyark(['config', 'show', '--json', '--config', file]);
  assert.equal(code, EXIT.OK);
  const shown = JSON.parse(stdout) as {
    settings: { name: string; value: string; origin: string }[];
  };
  const port = shown.settings.find(({ name }) => name === 'api.port');
  assert.deepEqual([port?.value, port?.origin], ['4711', 'file']);
});

test('keyark help exit-codes lists them all', async () => {
  const { stdout } = await keyark(['help', 'exit-codes']);
  for (const [name, number] of Object.entries(EXIT)) {
    assert.match(stdout, new RegExp(`^ *${number} +${name} `, 'm'));
  }
});

test('the launcher runs the pinned Node', async () => {
  const { stdout } = await keyark(['--version']);
  assert.match(stdout, new RegExp(`Node ${process.versions.node.replaceAll('.', '\\.')}`));
  assert.match(stdout, /Node 26\./);
});
