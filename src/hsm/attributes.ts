/**
 * The attributes of token objects: one row each, saying what it is called, who gives it its first value
 * and who may change it how. Everything that reads or writes an attribute asks this table.
 *
 * It must never let a one-way attribute go back (SENSITIVE, EXTRACTABLE, WRAP_WITH_TRUSTED, MODIFIABLE,
 * COPYABLE) nor let anybody but the HSM say where a key was born (LOCAL, ALWAYS_SENSITIVE,
 * NEVER_EXTRACTABLE, KEY_GEN_MECHANISM).
 */
import { asBuffer, fromBase64, fromUtf8, toBase64 } from '../kernel/bytes.ts';
import { Refused } from '../kernel/errors.ts';
import type { JsonObject, JsonValue } from '../kernel/types.ts';
import { type AttributeType, CKA, CKO, type ObjectClass } from './constants.ts';
import type { Attributes, AttributeValue } from './state.ts';

/** How a value is written in JSON: `text` and `number` are typed, `bytes` is base64. */
type Form = 'flag' | 'number' | 'text' | 'bytes';

/** Who may change it after creation, and in which direction. */
type ChangeRule = 'owner' | 'owner, only to true' | 'owner, only to false' | 'admin' | 'nobody';

export interface AttributeRow {
  readonly type: AttributeType;
  readonly name: string;
  readonly form: Form;
  /** Key material: in no answer, no log and no listing. */
  readonly isSecretOn: readonly ObjectClass[];
  /** Classes on which the creator may give a value. */
  readonly settableOn: readonly ObjectClass[];
  readonly change: ChangeRule;
}

const { DATA, CERTIFICATE, PUBLIC_KEY, PRIVATE_KEY, SECRET_KEY } = CKO;
const KEYS = [PUBLIC_KEY, PRIVATE_KEY, SECRET_KEY] as const;
const HIDDEN_KEYS = [PRIVATE_KEY, SECRET_KEY] as const;
const ALL = [DATA, CERTIFICATE, ...KEYS] as const;
const NONE = [] as const;

function row(
  type: AttributeType,
  name: string,
  form: Form,
  settableOn: readonly ObjectClass[],
  change: ChangeRule,
  isSecretOn: readonly ObjectClass[] = NONE,
): AttributeRow {
  return { type, name, form, settableOn, change, isSecretOn };
}

/** One row per CKA number; a forgotten one does not compile. */
export const ATTRIBUTES = {
  CLASS: row(CKA.CLASS, 'class', 'number', NONE, 'nobody'),
  TOKEN: row(CKA.TOKEN, 'token', 'flag', NONE, 'nobody'),
  PRIVATE: row(CKA.PRIVATE, 'private', 'flag', ALL, 'nobody'),
  LABEL: row(CKA.LABEL, 'label', 'text', ALL, 'owner'),
  UNIQUE_ID: row(CKA.UNIQUE_ID, 'unique-id', 'text', NONE, 'nobody'),
  APPLICATION: row(CKA.APPLICATION, 'application', 'text', [DATA], 'owner'),
  VALUE: row(CKA.VALUE, 'value', 'bytes', NONE, 'nobody', HIDDEN_KEYS),
  OBJECT_ID: row(CKA.OBJECT_ID, 'object-id', 'bytes', [DATA], 'owner'),
  CERTIFICATE_TYPE: row(CKA.CERTIFICATE_TYPE, 'certificate-type', 'number', NONE, 'nobody'),
  ISSUER: row(CKA.ISSUER, 'issuer', 'bytes', [CERTIFICATE], 'owner'),
  SERIAL_NUMBER: row(CKA.SERIAL_NUMBER, 'serial-number', 'bytes', [CERTIFICATE], 'owner'),
  TRUSTED: row(CKA.TRUSTED, 'trusted', 'flag', NONE, 'admin'),
  CERTIFICATE_CATEGORY: row(
    CKA.CERTIFICATE_CATEGORY,
    'certificate-category',
    'number',
    [CERTIFICATE],
    'nobody',
  ),
  CHECK_VALUE: row(CKA.CHECK_VALUE, 'check-value', 'bytes', NONE, 'nobody'),
  KEY_TYPE: row(CKA.KEY_TYPE, 'key-type', 'number', NONE, 'nobody'),
  SUBJECT: row(CKA.SUBJECT, 'subject', 'bytes', [CERTIFICATE, PUBLIC_KEY, PRIVATE_KEY], 'owner'),
  ID: row(CKA.ID, 'id', 'bytes', [CERTIFICATE, ...KEYS], 'owner'),
  SENSITIVE: row(CKA.SENSITIVE, 'sensitive', 'flag', HIDDEN_KEYS, 'owner, only to true'),
  ENCRYPT: row(CKA.ENCRYPT, 'encrypt', 'flag', [PUBLIC_KEY, SECRET_KEY], 'owner'),
  DECRYPT: row(CKA.DECRYPT, 'decrypt', 'flag', HIDDEN_KEYS, 'owner'),
  WRAP: row(CKA.WRAP, 'wrap', 'flag', [PUBLIC_KEY, SECRET_KEY], 'owner'),
  UNWRAP: row(CKA.UNWRAP, 'unwrap', 'flag', HIDDEN_KEYS, 'owner'),
  SIGN: row(CKA.SIGN, 'sign', 'flag', HIDDEN_KEYS, 'owner'),
  SIGN_RECOVER: row(CKA.SIGN_RECOVER, 'sign-recover', 'flag', NONE, 'nobody'),
  VERIFY: row(CKA.VERIFY, 'verify', 'flag', [PUBLIC_KEY, SECRET_KEY], 'owner'),
  VERIFY_RECOVER: row(CKA.VERIFY_RECOVER, 'verify-recover', 'flag', NONE, 'nobody'),
  DERIVE: row(CKA.DERIVE, 'derive', 'flag', HIDDEN_KEYS, 'owner'),
  START_DATE: row(CKA.START_DATE, 'start-date', 'text', KEYS, 'owner'),
  END_DATE: row(CKA.END_DATE, 'end-date', 'text', KEYS, 'owner'),
  MODULUS: row(CKA.MODULUS, 'modulus', 'bytes', NONE, 'nobody'),
  MODULUS_BITS: row(CKA.MODULUS_BITS, 'modulus-size-bits', 'number', NONE, 'nobody'),
  PUBLIC_EXPONENT: row(CKA.PUBLIC_EXPONENT, 'public-exponent', 'bytes', NONE, 'nobody'),
  PRIVATE_EXPONENT: row(
    CKA.PRIVATE_EXPONENT,
    'private-exponent',
    'bytes',
    NONE,
    'nobody',
    HIDDEN_KEYS,
  ),
  PRIME_1: row(CKA.PRIME_1, 'prime-1', 'bytes', NONE, 'nobody', HIDDEN_KEYS),
  PRIME_2: row(CKA.PRIME_2, 'prime-2', 'bytes', NONE, 'nobody', HIDDEN_KEYS),
  EXPONENT_1: row(CKA.EXPONENT_1, 'exponent-1', 'bytes', NONE, 'nobody', HIDDEN_KEYS),
  EXPONENT_2: row(CKA.EXPONENT_2, 'exponent-2', 'bytes', NONE, 'nobody', HIDDEN_KEYS),
  COEFFICIENT: row(CKA.COEFFICIENT, 'coefficient', 'bytes', NONE, 'nobody', HIDDEN_KEYS),
  PUBLIC_KEY_INFO: row(CKA.PUBLIC_KEY_INFO, 'public-key-info', 'bytes', NONE, 'nobody'),
  VALUE_LEN: row(CKA.VALUE_LEN, 'key-length-bytes', 'number', NONE, 'nobody'),
  EXTRACTABLE: row(CKA.EXTRACTABLE, 'extractable', 'flag', HIDDEN_KEYS, 'owner, only to false'),
  LOCAL: row(CKA.LOCAL, 'local', 'flag', NONE, 'nobody'),
  NEVER_EXTRACTABLE: row(CKA.NEVER_EXTRACTABLE, 'never-extractable', 'flag', NONE, 'nobody'),
  ALWAYS_SENSITIVE: row(CKA.ALWAYS_SENSITIVE, 'always-sensitive', 'flag', NONE, 'nobody'),
  KEY_GEN_MECHANISM: row(CKA.KEY_GEN_MECHANISM, 'key-gen-mechanism', 'number', NONE, 'nobody'),
  MODIFIABLE: row(CKA.MODIFIABLE, 'modifiable', 'flag', ALL, 'owner, only to false'),
  COPYABLE: row(CKA.COPYABLE, 'copyable', 'flag', ALL, 'owner, only to false'),
  DESTROYABLE: row(CKA.DESTROYABLE, 'destroyable', 'flag', ALL, 'owner'),
  EC_PARAMS: row(CKA.EC_PARAMS, 'ec-params', 'bytes', NONE, 'nobody'),
  EC_POINT: row(CKA.EC_POINT, 'ec-point', 'bytes', NONE, 'nobody'),
  ALWAYS_AUTHENTICATE: row(CKA.ALWAYS_AUTHENTICATE, 'always-authenticate', 'flag', NONE, 'nobody'),
  WRAP_WITH_TRUSTED: row(
    CKA.WRAP_WITH_TRUSTED,
    'wrap-with-trusted',
    'flag',
    HIDDEN_KEYS,
    'owner, only to true',
  ),
} as const satisfies Record<keyof typeof CKA, AttributeRow>;

const ROWS: readonly AttributeRow[] = Object.values(ATTRIBUTES);
const BY_TYPE: ReadonlyMap<number, AttributeRow> = new Map(ROWS.map((r) => [r.type, r]));
const BY_NAME: ReadonlyMap<string, AttributeRow> = new Map(ROWS.map((r) => [r.name, r]));

export const MAX_LABEL_CHARACTERS = 127;
const MAX_ATTRIBUTE_BYTES = 4_096;

/** Undefined for a number that this version does not know. */
export const attributeRow = (type: number): AttributeRow | undefined => BY_TYPE.get(type);

export const flag = (value: boolean): AttributeValue => ({ type: 'bool', value });
export const number = (value: number): AttributeValue => ({ type: 'ulong', value });
export const bytes = (value: Uint8Array): AttributeValue => ({ type: 'bytes', value });
export const text = (value: string): AttributeValue => bytes(fromUtf8(value));

/** False when absent: PKCS#11's default of every flag that we leave out. */
export function flagOf(attributes: Attributes, type: AttributeType): boolean {
  const found = attributes.get(type);
  return found?.type === 'bool' && found.value;
}

export function numberOf(attributes: Attributes, type: AttributeType): number | undefined {
  const found = attributes.get(type);
  return found?.type === 'ulong' ? found.value : undefined;
}

export function bytesOf(attributes: Attributes, type: AttributeType): Uint8Array | undefined {
  const found = attributes.get(type);
  return found?.type === 'bytes' ? found.value : undefined;
}

export function textOf(attributes: Attributes, type: AttributeType): string {
  const found = bytesOf(attributes, type);
  return found === undefined ? '' : showText(found);
}

/** Classes and numbers unknown to this version count as secret. */
export function isSecret(attributes: Attributes, type: number): boolean {
  const known = BY_TYPE.get(type);
  const objectClass = numberOf(attributes, CKA.CLASS);
  return known === undefined || known.isSecretOn.some((one) => one === objectClass);
}

/** What a new object of this class has unless its creator says otherwise. Usage flags come from its key type. */
export function defaultsOf(objectClass: ObjectClass): Map<number, AttributeValue> {
  const shared: [number, AttributeValue][] = [
    [CKA.CLASS, number(objectClass)],
    [CKA.TOKEN, flag(true)],
    [CKA.PRIVATE, flag(objectClass !== PUBLIC_KEY && objectClass !== CERTIFICATE)],
    [CKA.LABEL, text('')],
    [CKA.MODIFIABLE, flag(true)],
    [CKA.COPYABLE, flag(true)],
    [CKA.DESTROYABLE, flag(true)],
  ];
  switch (objectClass) {
    case DATA:
      return new Map([...shared, [CKA.APPLICATION, text('')], [CKA.OBJECT_ID, bytes(EMPTY)]]);
    case CERTIFICATE:
      return new Map([...shared, [CKA.ID, bytes(EMPTY)], [CKA.TRUSTED, flag(false)]]);
    case PUBLIC_KEY:
      return new Map([
        ...shared,
        [CKA.ID, bytes(EMPTY)],
        [CKA.SUBJECT, bytes(EMPTY)],
        [CKA.DERIVE, flag(false)],
        [CKA.ENCRYPT, flag(false)],
        [CKA.VERIFY, flag(false)],
        [CKA.WRAP, flag(false)],
        [CKA.TRUSTED, flag(false)],
      ]);
    case PRIVATE_KEY:
      return new Map([
        ...shared,
        ...hidden(),
        [CKA.SUBJECT, bytes(EMPTY)],
        [CKA.ALWAYS_AUTHENTICATE, flag(false)],
      ]);
    case SECRET_KEY:
      return new Map([
        ...shared,
        ...hidden(),
        [CKA.ENCRYPT, flag(false)],
        [CKA.VERIFY, flag(false)],
        [CKA.WRAP, flag(false)],
        [CKA.TRUSTED, flag(false)],
      ]);
  }
}

const EMPTY = new Uint8Array(0);

/** A key that can't leave unless its creator asked for that: the default must not weaken. */
function hidden(): [number, AttributeValue][] {
  return [
    [CKA.ID, bytes(EMPTY)],
    [CKA.DERIVE, flag(false)],
    [CKA.SENSITIVE, flag(true)],
    [CKA.EXTRACTABLE, flag(false)],
    [CKA.DECRYPT, flag(false)],
    [CKA.SIGN, flag(false)],
    [CKA.UNWRAP, flag(false)],
    [CKA.WRAP_WITH_TRUSTED, flag(false)],
  ];
}

/**
 * Reads the attributes a creator asks for.
 * @throws Refused `InvalidRequest` for a name that does not exist or is not the creator's to give.
 */
export function parseCreation(
  given: JsonObject,
  objectClass: ObjectClass,
): Map<number, AttributeValue> {
  return parseAttributes(given, (known) => {
    if (!known.settableOn.some((one) => one === objectClass)) {
      const names = ROWS.filter((r) => r.settableOn.some((one) => one === objectClass));
      throw new Refused(
        'InvalidRequest',
        `attribute "${known.name}" can't be given when ${CLASS_NAMES.get(objectClass)} is made; ` +
          `these can: ${names.map((r) => r.name).join(', ')}.`,
      );
    }
  });
}

const CLASS_NAMES: ReadonlyMap<number, string> = new Map([
  [DATA, 'a data object'],
  [CERTIFICATE, 'a certificate'],
  [PUBLIC_KEY, 'a public key'],
  [PRIVATE_KEY, 'a private key'],
  [SECRET_KEY, 'a secret key'],
]);

/**
 * Reads the changes somebody asks for and judges them against what is there.
 * @throws Refused `InvalidRequest` (no such attribute, one-way, never changeable), `AccessDenied`
 *   (the admin's to change, or not the admin's), `WrongState` (the object is not modifiable).
 */
export function parseChange(
  given: JsonObject,
  current: Attributes,
  by: 'owner' | 'admin',
): Map<number, AttributeValue> {
  if (!flagOf(current, CKA.MODIFIABLE)) {
    throw new Refused(
      'WrongState',
      'this object was made unmodifiable (modifiable=false), which is for ever; nothing was changed.',
    );
  }
  return parseAttributes(given, (known, value) => {
    judgeChange(known, value, current, by);
  });
}

function judgeChange(
  known: AttributeRow,
  value: AttributeValue,
  current: Attributes,
  by: 'owner' | 'admin',
): void {
  if (known.change === 'nobody' || !fitsClass(known, current)) {
    throw new Refused('InvalidRequest', `attribute "${known.name}" of this object never changes.`);
  }
  if ((known.change === 'admin') !== (by === 'admin')) {
    throw new Refused(
      'AccessDenied',
      known.change === 'admin'
        ? `attribute "${known.name}" is set by an admin; log in as one.`
        : `attribute "${known.name}" is the owner's to change; an admin sets "trusted" alone.`,
    );
  }
  const now = flagOf(current, known.type);
  const direction =
    known.change === 'owner, only to true'
      ? true
      : known.change === 'owner, only to false'
        ? false
        : undefined;
  if (direction !== undefined && now === direction && value.value !== direction) {
    throw new Refused(
      'InvalidRequest',
      `attribute "${known.name}" is ${String(now)} and stays so: it goes one way only.`,
    );
  }
}

/** Whether the attribute means something on the object: it is there, or its creator could have given it. */
function fitsClass(known: AttributeRow, current: Attributes): boolean {
  const objectClass = numberOf(current, CKA.CLASS);
  return current.has(known.type) || known.settableOn.some((one) => one === objectClass);
}

function parseAttributes(
  given: JsonObject,
  judge: (row: AttributeRow, value: AttributeValue) => void,
): Map<number, AttributeValue> {
  const parsed = new Map<number, AttributeValue>();
  for (const [name, value] of Object.entries(given)) {
    const known = BY_NAME.get(name);
    if (known === undefined) {
      throw new Refused(
        'InvalidRequest',
        `there is no attribute "${name.slice(0, 64)}"; names look like label, id, sign, extractable.`,
      );
    }
    const typed = parseValue(known, value ?? null);
    judge(known, typed);
    parsed.set(known.type, typed);
  }
  return parsed;
}

function parseValue(known: AttributeRow, value: JsonValue): AttributeValue {
  switch (known.form) {
    case 'flag':
      if (typeof value === 'boolean') return flag(value);
      throw wrongForm(known, 'true or false');
    case 'number':
      if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) {
        return number(value);
      }
      throw wrongForm(known, 'a whole number of 0 or more');
    case 'text':
      if (typeof value === 'string') return text(parseText(known, value));
      throw wrongForm(known, 'text');
    case 'bytes':
      return bytes(parseBytes(known, value));
  }
}

function parseText(known: AttributeRow, value: string): string {
  if (known.type === CKA.START_DATE || known.type === CKA.END_DATE) {
    // CK_DATE: eight digits, or empty for "no date".
    if (/^(\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01]))?$/.test(value)) return value;
    throw wrongForm(known, 'a date written YYYYMMDD, or empty');
  }
  if (!value.isWellFormed() || [...value].length > MAX_LABEL_CHARACTERS) {
    throw wrongForm(known, `at most ${MAX_LABEL_CHARACTERS} characters of Unicode text`);
  }
  return value;
}

function parseBytes(known: AttributeRow, value: JsonValue): Uint8Array {
  if (typeof value !== 'string') throw wrongForm(known, 'base64 text');
  try {
    const decoded = fromBase64(value);
    if (decoded.length <= MAX_ATTRIBUTE_BYTES) return decoded;
  } catch {
    // The refusal below says the same for text that is no base64.
  }
  throw wrongForm(known, `base64 text of at most ${MAX_ATTRIBUTE_BYTES} bytes`);
}

function wrongForm(known: AttributeRow, wanted: string): Refused {
  return new Refused('InvalidRequest', `attribute "${known.name}" takes ${wanted}.`);
}

/**
 * Attributes as people and scripts read them. Key material is left out; so are attributes that this
 * version does not know, because it can't say that they are harmless.
 */
export function renderAttributes(attributes: Attributes): JsonObject {
  const shown: Record<string, JsonValue> = {};
  for (const [type, value] of [...attributes].sort(([a], [b]) => a - b)) {
    const known = BY_TYPE.get(type);
    if (known !== undefined && !isSecret(attributes, type)) {
      shown[known.name] = renderValue(known, value);
    }
  }
  return shown;
}

function renderValue(known: AttributeRow, value: AttributeValue): JsonValue {
  if (value.type !== 'bytes') return value.value;
  return known.form === 'text' ? showText(value.value) : toBase64(value.value);
}

/** PKCS#11 programs may have stored a label in any encoding; it must not stop a listing. */
function showText(value: Uint8Array): string {
  return asBuffer(value).toString('utf8');
}
