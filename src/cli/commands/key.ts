/** `keyark key`: keys inside the HSM, as a crypto user at the officers' door. */

import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { toBase64 } from '../../kernel/bytes.ts';
import type { JsonObject } from '../../kernel/types.ts';
import { confirm } from '../confirm.ts';
import { type Context, hasOption, textOption, withJson } from '../context.ts';
import { CommandFailed, EXIT } from '../exit-codes.ts';
import { optionalText, textOf } from '../json.ts';
import { asOfficer, type Login, withLogin } from '../officer-command.ts';
import { allKeys, type Caller } from '../officer-keys.ts';
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

/** What signs when nothing else is asked for. */
const SIGNS_WITH: Readonly<Record<string, string>> = {
  ec: 'ECDSA_SHA256',
  rsa: 'SHA256_RSA_PKCS',
  'generic-secret': 'SHA256_HMAC',
};

export function addKey(program: Command, context: Context): void {
  const key = program
    .command('key')
    .description('keys inside the HSM: generate, list, sign, delete')
    .addHelpText('after', '\nExample:\n  keyark key generate tls --type rsa-2048');

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
      allKeys(officer, { label: textOption(list, 'label') }),
    );
    if (hasOption(list, 'json')) context.print.json({ keys });
    else {
      const rows = keys.map((each) => COLUMNS.map((name) => optionalText(each, name) ?? ''));
      context.print.table(COLUMNS, rows);
    }
  });

  const remove = key
    .command('delete')
    .description('destroy a key for good; backups that hold it still do')
    .argument('<key>', 'its label, or its reference 0x…')
    .option('--yes', 'do not ask')
    .addHelpText('after', '\nExample:\n  keyark key delete tls');
  withLogin(remove, APP_USER).action(async (wanted: string) => {
    await confirm(context, {
      plan: [
        `Destroy the key ${wanted} in the HSM. Backups that hold it keep it until they are purged.`,
      ],
      name: wanted,
      isYes: hasOption(remove, 'yes'),
    });
    const deleted = await asOfficer(context, remove, APP, (officer) => deleteKeys(officer, wanted));
    context.print.line(`${wanted} is gone${deleted === 2 ? ', with its public half' : ''}.`);
  });

  const sign = key
    .command('sign')
    .description('sign a file with a key of the HSM; base64 on stdout')
    .argument('<key>', 'its label, or its reference 0x…')
    .argument('<file>')
    .option('--mechanism <name>', "as the HSM calls it (default: the key type's own)")
    .addHelpText(
      'after',
      `\nWithout --mechanism: ${Object.entries(SIGNS_WITH)
        .map(([type, name]) => `${type} ${name}`)
        .join(', ')}.\n\nExample:\n  keyark key sign tls ./message`,
    );
  withJson(withLogin(sign, APP_USER)).action(async (label: string, file: string) => {
    const data = toBase64(readFileSync(file));
    const answer = await asOfficer(context, sign, APP, async (officer) => {
      const found = await ownKey(officer, label);
      const mechanism = textOption(sign, 'mechanism') ?? SIGNS_WITH[textOf(found, 'type')];
      if (mechanism === undefined) {
        throw new CommandFailed(
          EXIT.REFUSED,
          `A key of type ${textOf(found, 'type')} does not sign by default; name a --mechanism.`,
        );
      }
      return officer.call('sign', { key: textOf(found, 'key'), mechanism, data });
    });
    if (hasOption(sign, 'json')) context.print.json(answer);
    else context.print.line(textOf(answer, 'signature'));
  });
}

/** Deletes what `wanted` names: the public half of a pair too, where a label names one. */
async function deleteKeys(officer: Caller, wanted: string): Promise<number> {
  const own = await ownKey(officer, wanted);
  const halves = wanted.startsWith('0x')
    ? []
    : (await allKeys(officer, { label: wanted })).filter(
        (each) => each['class'] === 'public-key' && each['type'] === own['type'],
      );
  for (const each of [own, ...halves]) {
    await officer.call('key-delete', { key: textOf(each, 'key') });
  }
  return 1 + halves.length;
}

/** @param wanted a label, or the HSM's own reference (`0x…`) where a label is on several keys. */
async function ownKey(officer: Caller, wanted: string): Promise<JsonObject> {
  const found = wanted.startsWith('0x')
    ? (await allKeys(officer)).filter((each) => each['key'] === wanted)
    : (await allKeys(officer, { label: wanted })).filter((each) => each['class'] !== 'public-key');
  const [own, ...others] = found;
  if (own !== undefined && others.length === 0) return own;
  throw new CommandFailed(
    EXIT.REFUSED,
    own === undefined
      ? `This user sees no key ${wanted}; \`keyark key list\` shows which there are.`
      : `${others.length + 1} keys are called ${wanted}; name one by the last column of \`keyark key list\`.`,
  );
}

const COLUMNS = ['label', 'class', 'type', 'key'] as const;
