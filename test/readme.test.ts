/**
 * README's first ten minutes are a transcript, and this replays it: the same commands in one shell, on a
 * throw-away folder; the same exit codes; the same lines, but for what differs from run to run.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { temporaryFolder } from './support/service.ts';

const ROOT = join(import.meta.dirname, '..');
const START_MS = 60_000;
/** Says nothing about a line, or any number of lines left out. */
const LEFT_OUT = '…';

interface Step {
  readonly command: string;
  readonly exitCode: number;
  readonly lines: readonly string[];
}

/** The fenced `console` blocks under the heading. */
function transcripts(readme: string): readonly (readonly Step[])[] {
  const section = readme.split('## The first ten minutes')[1]?.split('\n## ')[0] ?? '';
  return [...section.matchAll(/```console\n([\s\S]*?)```/g)].map(([, text]) => stepsOf(text ?? ''));
}

function stepsOf(text: string): readonly Step[] {
  return text
    .split(/^\$ /m)
    .slice(1)
    .map((part) => {
      const [first = '', ...lines] = part.trimEnd().split('\n');
      const [command = '', note = ''] = first.split('    # ');
      const exitCode = Number(/exit code (\d+)/.exec(note)?.[1] ?? 0);
      return { command: command.trim(), exitCode, lines };
    });
}

/** What differs from run to run becomes a word for its kind; so do column widths. */
function stable(line: string, data: string): string {
  return line
    .replaceAll(data, 'DATA')
    .replaceAll('~/.local/share/keyark', 'DATA')
    .replaceAll(/\b(cluster|backup|hsm)-keyark[a-z2-7]{10}\b/g, '$1-ID')
    .replaceAll(/127\.0\.0\.1:\d+/g, 'HOST')
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/g, 'TIME')
    .replaceAll(/\bKA[0-9A-F]{20}\b/g, 'SERIAL')
    .replaceAll(/^[A-Za-z0-9+/]{80,}=*$/g, 'SIGNATURE')
    .replaceAll(/\b\d+ (s|min|h)\b/g, 'SOME $1')
    .replaceAll(/SOME h( SOME min)?/g, 'SOME TIME')
    .replaceAll(/process \d+/g, 'process N')
    .replaceAll(/\s+/g, ' ')
    .trim();
}

/** Every expected line is there, in this order, with nothing between lines that follow each other. */
function assertSays(actual: readonly string[], expected: readonly string[], of: string): void {
  let at = 0;
  let maySkip = false;
  for (const line of expected) {
    if (line === LEFT_OUT) {
      maySkip = true;
      continue;
    }
    const found = actual.indexOf(line, at);
    const isThere: boolean = maySkip ? found >= 0 : found === at;
    assert.ok(isThere, `${of}\nexpected: ${line}\nsaid:\n${actual.slice(at).join('\n')}`);
    at = found + 1;
    maySkip = false;
  }
  assert.ok(maySkip || at === actual.length, `${of} said more:\n${actual.slice(at).join('\n')}`);
}

test('the first ten minutes of the README happen as it says', {
  skip: existsSync('/usr/bin/aws') ? false : 'needs the AWS CLI',
}, async () => {
  const [first = [], second = []] = transcripts(await readFile(join(ROOT, 'README.md'), 'utf8'));
  assert.equal(first.length, 1);
  assert.ok(second.length > 5);

  await using folder = await temporaryFolder();
  await chmod(folder.path, 0o755);
  const data = join(folder.path, 'd');
  const env = {
    ...process.env,
    HOME: folder.path,
    KEYARK_DATA: data,
    KEYARK_PORT: '0',
    npm_config_loglevel: 'silent',
    npm_config_update_notifier: 'false',
  };
  const clean = (text: string): string[] =>
    text
      .trimEnd()
      .split('\n')
      .map((line) => stable(line, data));

  const [up] = first;
  assert.ok(up !== undefined);
  // npm's own two lines about what it runs are not ours.
  const service = spawn('sh', ['-c', `exec ${up.command} --silent`], {
    cwd: ROOT,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  let complaints = '';
  service.stdout.on('data', (text: Buffer) => {
    said += text.toString();
  });
  service.stderr.on('data', (text: Buffer) => {
    complaints += text.toString();
  });
  const ended = new Promise<number | null>((resolve) => service.once('close', resolve));
  try {
    const deadline = performance.now() + START_MS;
    const last = up.lines.at(-1) ?? '';
    while (!said.includes(last)) {
      assert.ok(service.exitCode === null, `${up.command} ended:\n${said}${complaints}`);
      assert.ok(performance.now() < deadline, `${up.command} is not there:\n${said}`);
      await sleep(50);
    }
    const expected = up.lines.map((line) => stable(line, data));
    assertSays(clean(said), expected, up.command);

    for (const step of second) {
      const { code, output } = await run(step.command, env);
      assert.equal(code, step.exitCode, `${step.command}\n${output}`);
      const lines = step.lines.map((line) => stable(line, data));
      if (lines.length > 0) assertSays(clean(output), lines, step.command);
    }
    assert.equal(await ended, up.exitCode);
  } finally {
    service.kill('SIGTERM');
    await ended;
  }
});

function run(
  command: string,
  env: NodeJS.ProcessEnv,
): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    const child = spawn('bash', ['-c', command], {
      cwd: ROOT,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    let complaints = '';
    child.stdout.on('data', (text: Buffer) => {
      output += text.toString();
    });
    child.stderr.on('data', (text: Buffer) => {
      complaints += text.toString();
    });
    child.once('close', (code) => resolve({ code, output: output === '' ? complaints : output }));
  });
}
