/** `keyark key`: keys inside the HSM, as a crypto user at the officers' door. */

import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { toBase64 } from '../../kernel/bytes.ts';
import type { JsonObject } from '../../kernel/types.ts';
import { type Context, hasOption, textOption, withJson } from '../context.ts';
import { CommandFailed, EXIT } from '../exit-codes.ts';
import { listOf, optionalText, textOf } from '../json.ts';
import { asOfficer, type Login, withLogin } from '../officer-command.ts';
import { APP_USER } from '../ready-made.ts';

const APP: Login = { username: APP_USER, role: 'crypto-user' };

/** What `--type` means to the HSM. */
const KINDS: Readonly<Record<string, { call: string; params: JsonObject }>> = {
  'aes-256': { call: 'key-generate-symmetric', params: { type: 'aes', bytes: 32 } },
  'hmac-256': { call: 'key-generate-symmetric', params: { type: 'generic-secret', bytes: 32 } },
  'rsa-2048': { call: 'key-generate-pair', params: { type: 'rsa', bits: 2048 } },
  'rsa-3072': { call: 'key-generate-pair', params: { type: 'rsa', bits: 3072 } },
  'rsa-4096': { call: 'key-generate-pair', params: { type: 'rsa', bits: 4096 } },
  'ec-p256': { call: 'key-generate-pair', params: { type: 'ec', curve: 'P-256' } },
  'ec-p384': { call: 'key-generate-pair', params: { type: 'ec', curve: 'P-384' } },
};

export function addKey(program: Command, context: Context): void {
  const key = program.command('key').description('keys inside the HSM: generate, list, sign');

  const generate = key
    .command('generate')
    .description('make a key; it is backed up and proven seconds later')
    .argument('<label>')
    .addOption(
      new Option('--type <type>', 'kind and size').choices(Object.keys(KINDS)).default('ec-p256'),
    )
    .addHelpText('after', '\nExample:\n  keyark key generate tls --type ec-p256');
  withJson(withLogin(generate, APP_USER)).action(async (label: string) => {
    // The option has a default and takes the table's names only.
    const kind = KINDS[textOption(generate, 'type') ?? 'ec-p256'];
    if (kind === undefined) return;
    const made = await asOfficer(context, generate, APP, (officer) =>
      officer.call(kind.call, { ...kind.params, label }),
    );
    if (hasOption(generate, 'json')) context.print.json(made);
    else context.print.line(`${label} is in the HSM; only signatures and the like come out.`);
  });

  const list = key
    .command('list')
    .description('keys that the user may see')
    .option('--label <label>', 'with this label only')
    .addHelpText('after', '\nExample:\n  keyark key list');
  withJson(withLogin(list, APP_USER)).action(async () => {
    const keys = await asOfficer(context, list, APP, (officer) =>
      allKeys(officer, textOption(list, 'label')),
    );
    if (hasOption(list, 'json')) context.print.json({ keys });
    else {
      const rows = keys.map((each) => COLUMNS.map((name) => optionalText(each, name) ?? ''));
      context.print.table(COLUMNS, rows);
    }
  });

  const sign = key
    .command('sign')
    .description('sign a file with a key of the HSM; base64 on stdout')
    .argument('<key>', 'its label, or its reference 0x…')
    .argument('<file>')
    .addOption(new Option('--mechanism <name>', 'as the HSM calls it').default('ECDSA_SHA256'))
    .addHelpText('after', '\nExample:\n  keyark key sign tls ./message');
  withJson(withLogin(sign, APP_USER)).action(async (label: string, file: string) => {
    const data = toBase64(readFileSync(file));
    const mechanism = textOption(sign, 'mechanism');
    const answer = await asOfficer(context, sign, APP, async (officer) => {
      const key = await signingKey(officer, label);
      return officer.call('sign', { key, mechanism, data });
    });
    if (hasOption(sign, 'json')) context.print.json(answer);
    else context.print.line(textOf(answer, 'signature'));
  });
}

/** @param wanted a label, or the HSM's own reference (`0x…`) where a label is on several keys. */
async function signingKey(officer: Caller, wanted: string): Promise<string> {
  if (wanted.startsWith('0x')) return wanted;
  const found = await allKeys(officer, wanted);
  const [own, ...others] = found.filter((each) => each['class'] !== 'public-key');
  if (own !== undefined && others.length === 0) return textOf(own, 'key');
  throw new CommandFailed(
    EXIT.REFUSED,
    own === undefined
      ? `This user sees no key ${wanted}; \`keyark key list\` shows which there are.`
      : `${others.length + 1} keys are called ${wanted}; name one by the last column of \`keyark key list\`.`,
  );
}

interface Caller {
  call(name: string, params: JsonObject): Promise<JsonObject>;
}

const COLUMNS = ['label', 'class', 'type', 'key'] as const;

async function allKeys(officer: Caller, label: string | undefined): Promise<readonly JsonObject[]> {
  const found: JsonObject[] = [];
  let after: string | undefined;
  do {
    const page = await officer.call('key-list', { label, after });
    found.push(...listOf(page, 'keys'));
    after = optionalText(page, 'next');
  } while (after !== undefined);
  return found;
}
