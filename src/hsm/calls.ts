/**
 * The officers' calls, one row each: what it takes and what it does. Who may make it is the table in
 * `permissions.ts`; a call that is in one table and not in the other does not compile.
 *
 * It must never answer a secret: results are views, counts, signatures and the caller's own data.
 */
import { CryptoError } from '../crypto/errors.ts';
import { toBase64 } from '../kernel/bytes.ts';
import { assert, Refused } from '../kernel/errors.ts';
import type { Random } from '../kernel/random.ts';
import type { JsonObject } from '../kernel/types.ts';
import type { WireAnswer } from '../kernel/wire.ts';
import type { Changes } from './changes.ts';
import { compareListing } from './compare.ts';
import {
  generateEc,
  generateRsa,
  generateSecret,
  importCertificate,
  importData,
  importPair,
  importPublic,
  importSecret,
  MAX_GENERIC_SECRET_BYTES,
  type SecretType,
  type Wishes,
} from './generate.ts';
import type { CurveName } from './key-material.ts';
import { CURVE_NAMES, RSA_MAX_BITS, RSA_MIN_BITS, RSA_STEP_BITS } from './key-material.ts';
import type { Logins } from './login.ts';
import { type KeyMill, KIND_NAMES, MAX_BATCH } from './mill.ts';
import { MAX_PAGE, type Newborn, type Objects, referenceOf, summaryOf, viewOf } from './objects.ts';
import { decrypt, encrypt, type OperationNeeds, sign, verify } from './operations.ts';
import {
  data,
  listOf,
  object,
  oneOf,
  optional,
  type Parsed,
  parseParams,
  password,
  pem,
  type Reader,
  type Shape,
  text,
  whole,
} from './params.ts';
import type { OfficerCall } from './permissions.ts';
import { openPlan } from './plan-box.ts';
import { judgePolicy, listPolicies } from './policies.ts';
import type { Hello, Lifecycle } from './protocol.ts';
import type { Login, Session } from './sessions.ts';
import type { Store } from './store.ts';
import type { Users } from './users.ts';

/** What the calls work on. */
export interface CallNeeds {
  readonly store: Store;
  readonly random: Random;
  readonly changes: Changes;
  readonly users: Users;
  readonly logins: Logins;
  readonly objects: Objects;
  readonly mill: KeyMill;
  readonly hello: () => Hello;
  readonly lifecycle: { current(): Lifecycle; activated(): Promise<void> };
  readonly operationNeeds: () => OperationNeeds;
}

export interface CallRow {
  readonly run: (call: string, session: Session, params: JsonObject) => Promise<WireAnswer>;
}

const MAX_AUDIT_RECORDS = 1_000;
const GIVEN_ROLE = oneOf('admin', 'crypto-user');
const HASH = oneOf('sha224', 'sha256', 'sha384', 'sha512');
const ECDSA_FORMAT = optional(oneOf('der', 'raw'));
const WISHES = {
  label: text,
  attributes: optional(object),
  publicAttributes: optional(object),
} as const;

const RSA_BITS: Reader<number> = (value, name) => {
  const bits = whole(RSA_MIN_BITS, RSA_MAX_BITS)(value, name);
  if (bits % RSA_STEP_BITS !== 0) {
    throw new Refused(
      'InvalidRequest',
      `parameter "${name}" goes in steps of ${RSA_STEP_BITS}, from ${RSA_MIN_BITS} to ${RSA_MAX_BITS}.`,
    );
  }
  return bits;
};

export function officerCalls(needs: CallNeeds): Readonly<Record<OfficerCall, CallRow>> {
  const { store, random, changes, users, logins, objects, mill, hello, lifecycle, operationNeeds } =
    needs;
  return {
    info: row({}, async (session) => ({ ...asJson(hello()), login: loginView(session.login) })),
    'user-list': row({}, async () => ({ users: users.list().map((user) => ({ ...user })) })),
    'policy-list': row({}, async () => ({
      policies: listPolicies(store.shared).map((policy) => ({ ...policy })),
    })),

    activate: row({ password }, async (session, given) => {
      if (lifecycle.current() !== 'INITIALIZED') {
        throw new Refused(
          'WrongState',
          `this cluster is ${lifecycle.current()}; activating is for an INITIALIZED one, once.`,
        );
      }
      await users.activate(session, given.password);
      await lifecycle.activated();
      return {};
    }),
    login: row(
      { username: text, role: GIVEN_ROLE, password },
      async (session, { username, role, password }) =>
        loginView(await logins.login(session, username, role, password)) ?? {},
    ),
    logout: row({}, async (session) => {
      const { name } = needLogin(session);
      session.logout();
      await changes.note({ opcode: 'CN_LOGOUT', response: 0, session, user: name });
      return {};
    }),

    'user-create': row(
      { username: text, role: GIVEN_ROLE, password },
      async (session, { username, role, password }) => ({
        user: { ...(await users.create(session, username, role, password)) },
      }),
    ),
    'user-delete': row(
      { username: text, role: GIVEN_ROLE },
      async (session, { username, role }) => {
        await users.delete(session, username, role);
        return {};
      },
    ),
    'user-change-password': row(
      { username: text, role: GIVEN_ROLE, password },
      async (session, { username, role, password }) => {
        await users.changePassword(session, username, role, password);
        return {};
      },
    ),
    'policy-set': row({ name: text, value: whole(0, 1_000_000) }, (session, { name, value }) =>
      changes.make(session, {
        opcode: 'CN_SET_POLICY',
        decide: (shared) => ({
          changes: [{ kind: 'put-policy', policy: judgePolicy(shared, name, value) }],
          result: { name, value },
          details: `${name}=${value}`,
        }),
      }),
    ),
    audit: row({ limit: optional(whole(1, MAX_AUDIT_RECORDS)) }, async (_session, { limit }) => ({
      records: store.audit(limit ?? 100).map((record) => ({ ...record })),
    })),
    compare: {
      run: async (call, _session, params) => {
        parseParams(call, {}, params);
        return { result: {}, body: compareListing(store.shared) };
      },
    },

    'plan-read': row({ plan: data }, async (session, given) => {
      const plan = openNames(store.shared.partition, given.plan);
      const { name } = needLogin(session);
      await changes.note({ opcode: 'CN_PLAN_READ', response: 0, session, user: name });
      return { ...plan, generation: store.shared.generation };
    }),

    'key-generate-symmetric': row(
      {
        type: oneOf('aes', 'generic-secret'),
        bytes: whole(1, MAX_GENERIC_SECRET_BYTES),
        label: text,
        attributes: optional(object),
      },
      (session, { type, bytes, ...wishes }) =>
        born(objects, session, 'CN_GENERATE_KEY', [generateSecret(random, type, bytes, wishes)]),
    ),
    'key-generate-pair': row(
      {
        type: oneOf('rsa', 'ec'),
        bits: optional(RSA_BITS),
        curve: optional(oneOf(...CURVE_NAMES)),
        ...WISHES,
      },
      async (session, { type, bits, curve, ...wishes }) => {
        const pair = await mill.run(session, () =>
          generatePair(random, { type, bits, curve }, wishes),
        );
        return born(objects, session, 'CN_GENERATE_KEY_PAIR', pair);
      },
    ),
    'key-generate-many': row(
      { kinds: listOf(oneOf(...KIND_NAMES), MAX_BATCH), labelPrefix: text },
      async (session, { kinds, labelPrefix }) => {
        const families = await mill.many(session, kinds, labelPrefix);
        const records = await objects.create(session, 'CN_GENERATE_KEY', families.flat());
        let at = 0;
        const keys = families.map((family, i): JsonObject => {
          const mine = records.slice(at, at + family.length);
          at += family.length;
          const key = mine.at(-1);
          const publicKey = mine.length > 1 ? mine[0] : undefined;
          return {
            kind: kinds[i],
            ...(key === undefined ? {} : { key: referenceOf(key) }),
            ...(publicKey === undefined ? {} : { publicKey: referenceOf(publicKey) }),
          };
        });
        return { keys };
      },
    ),
    'key-import': row(
      {
        format: oneOf('raw', 'pkcs8-pem', 'spki-pem'),
        type: optional(oneOf('aes', 'generic-secret')),
        value: optional(data),
        pem: optional(pem),
        ...WISHES,
      },
      (session, given) => born(objects, session, 'CN_CREATE_OBJECT', importKey(random, given)),
    ),
    'object-import': row(
      {
        type: oneOf('certificate', 'data'),
        value: optional(data),
        pem: optional(pem),
        label: text,
        attributes: optional(object),
      },
      (session, { type, value, pem, ...wishes }) =>
        born(objects, session, 'CN_CREATE_OBJECT', [
          type === 'certificate'
            ? importCertificate(given('pem', pem, 'a certificate'), wishes)
            : importData(given('value', value, 'a data object'), wishes),
        ]),
    ),

    'key-list': row(
      {
        label: optional(text),
        class: optional(oneOf('secret-key', 'private-key', 'public-key', 'certificate', 'data')),
        type: optional(oneOf('aes', 'generic-secret', 'rsa', 'ec')),
        after: optional(text),
        limit: optional(whole(1, MAX_PAGE)),
      },
      async (session, { type, ...filter }) => {
        const page = objects.list(needLogin(session), { ...filter, keyType: type });
        return { keys: page.objects.map(summaryOf), next: page.next };
      },
    ),
    'key-get': row({ key: text }, async (session, { key }) => ({
      key: viewOf(objects.find(needLogin(session), key)),
    })),
    'key-set-attribute': row(
      { key: text, attributes: object },
      async (session, { key, attributes }) => ({
        key: viewOf(await objects.setAttributes(session, key, attributes)),
      }),
    ),
    'key-delete': row({ key: text }, async (session, { key }) => {
      await objects.delete(session, key);
      return {};
    }),
    'key-share': row({ key: text, username: text }, async (session, { key, username }) => ({
      key: viewOf(await objects.share(session, key, username)),
    })),
    'key-unshare': row({ key: text, username: text }, async (session, { key, username }) => ({
      key: viewOf(await objects.unshare(session, key, username)),
    })),

    sign: row(
      { key: text, mechanism: text, data, format: ECDSA_FORMAT },
      async (session, given) => {
        const record = objects.find(needLogin(session), given.key);
        const signature = await sign(
          operationNeeds(),
          record,
          given.mechanism,
          given.data,
          given.format ?? 'der',
        );
        return { signature: toBase64(signature) };
      },
    ),
    verify: row(
      { key: text, mechanism: text, data, signature: data, format: ECDSA_FORMAT },
      async (session, given) => {
        const record = objects.find(needLogin(session), given.key);
        const needs = operationNeeds();
        return {
          isValid: await verify(
            needs,
            record,
            given.mechanism,
            given.data,
            given.signature,
            given.format ?? 'der',
          ),
        };
      },
    ),
    encrypt: row(
      { key: text, mechanism: text, data, aad: optional(data), hash: optional(HASH) },
      async (session, { key, mechanism, data, ...options }) => {
        const record = objects.find(needLogin(session), key);
        const encrypted = encrypt(operationNeeds(), record, mechanism, data, options);
        return {
          data: toBase64(encrypted.data),
          ...(encrypted.iv === undefined ? {} : { iv: toBase64(encrypted.iv) }),
        };
      },
    ),
    decrypt: row(
      {
        key: text,
        mechanism: text,
        data,
        iv: optional(data),
        aad: optional(data),
        hash: optional(HASH),
      },
      async (session, { key, mechanism, data, ...options }) => {
        const record = objects.find(needLogin(session), key);
        return { data: toBase64(decrypt(operationNeeds(), record, mechanism, data, options)) };
      },
    ),
  };
}

/** At the door a box that does not open is a caller's mistake, in the words of `plan-box.ts`. */
function openNames(...[partition, box]: Parameters<typeof openPlan>): JsonObject {
  try {
    return openPlan(partition, box);
  } catch (cause) {
    if (cause instanceof CryptoError) throw new Refused('DoesNotOpen', `${cause.message}.`);
    throw cause;
  }
}

function row<S extends Shape>(
  shape: S,
  run: (session: Session, given: Parsed<S>) => Promise<JsonObject>,
): CallRow {
  return {
    run: async (call, session, params) => ({
      result: await run(session, parseParams(call, shape, params)),
    }),
  };
}

async function born(
  objects: Objects,
  session: Session,
  opcode: string,
  newborns: readonly Newborn[],
): Promise<JsonObject> {
  const [first, second] = await objects.create(session, opcode, newborns);
  assert(first !== undefined, 'something was born');
  return second === undefined
    ? { key: viewOf(first) }
    : { publicKey: viewOf(first), privateKey: viewOf(second) };
}

function generatePair(
  random: Random,
  wanted: { type: 'rsa' | 'ec'; bits: number | undefined; curve: CurveName | undefined },
  wishes: Wishes,
): Promise<[Newborn, Newborn]> {
  const { type, bits, curve } = wanted;
  if (type === 'rsa' && bits !== undefined && curve === undefined) {
    return generateRsa(random, bits, wishes);
  }
  if (type === 'ec' && curve !== undefined && bits === undefined) {
    return generateEc(random, curve, wishes);
  }
  throw new Refused(
    'InvalidRequest',
    'an rsa pair takes "bits" and no "curve", an ec pair "curve" and no "bits".',
  );
}

interface KeyImport extends Wishes {
  readonly format: 'raw' | 'pkcs8-pem' | 'spki-pem';
  readonly type: SecretType | undefined;
  readonly value: Uint8Array | undefined;
  readonly pem: string | undefined;
}

function importKey(random: Random, wanted: KeyImport): readonly Newborn[] {
  const { format, type, value, pem, ...wishes } = wanted;
  if (format === 'raw' ? pem !== undefined : value !== undefined || type !== undefined) {
    throw new Refused(
      'InvalidRequest',
      'format raw takes "type" and "value"; the PEM formats take "pem".',
    );
  }
  switch (format) {
    case 'raw':
      if (wishes.publicAttributes !== undefined) {
        throw new Refused(
          'InvalidRequest',
          'a secret key has no public half; leave out "publicAttributes".',
        );
      }
      return [importSecret(given('type', type, 'raw'), given('value', value, 'raw'), wishes)];
    case 'pkcs8-pem':
      return importPair(random, given('pem', pem, format), wishes);
    case 'spki-pem':
      if (wishes.publicAttributes !== undefined) {
        throw new Refused(
          'InvalidRequest',
          'a public key alone takes "attributes"; leave out "publicAttributes".',
        );
      }
      return [importPublic(given('pem', pem, format), wishes)];
  }
}

function given<T>(name: string, value: T | undefined, what: string): T {
  if (value === undefined) {
    throw new Refused('InvalidRequest', `${what} needs parameter "${name}".`);
  }
  return value;
}

function needLogin(session: Session): Login {
  if (session.login === null) {
    throw new Refused(
      'AccessDenied',
      'nobody is logged in on this session any more; log in again.',
    );
  }
  return session.login;
}

const loginView = (login: Login | null): JsonObject | null =>
  login === null ? null : { username: login.name, role: login.role };

function asJson(hello: Hello): JsonObject {
  // `Hello` is declared as interfaces of JSON values; writing and reading it gives exactly that.
  return JSON.parse(JSON.stringify(hello)) as JsonObject;
}
