/** Distinguished names (RFC 5280 §4.1.2.4), the six attributes that Keyark uses. */
import { toUtf8 } from '../kernel/bytes.ts';
import {
  type DerElement,
  type DerReader,
  derFailure,
  objectIdentifier,
  PRINTABLE,
  printableString,
  sequence,
  setOf,
  TAG,
  utf8String,
} from './der.ts';
import { CryptoError } from './errors.ts';

export type NameAttribute = 'C' | 'ST' | 'O' | 'OU' | 'CN' | 'serialNumber';
export type Name = readonly (readonly [attribute: NameAttribute, value: string])[];

interface AttributeRow {
  readonly oid: string;
  /** RFC 5280 appendix A: countryName and serialNumber are PrintableString, the rest DirectoryString. */
  readonly isPrintable: boolean;
  /** The upper bounds of the same appendix. */
  readonly maxCharacters: number;
}

const ATTRIBUTES = {
  C: { oid: '2.5.4.6', isPrintable: true, maxCharacters: 2 },
  ST: { oid: '2.5.4.8', isPrintable: false, maxCharacters: 128 },
  O: { oid: '2.5.4.10', isPrintable: false, maxCharacters: 64 },
  OU: { oid: '2.5.4.11', isPrintable: false, maxCharacters: 64 },
  CN: { oid: '2.5.4.3', isPrintable: false, maxCharacters: 64 },
  serialNumber: { oid: '2.5.4.5', isPrintable: true, maxCharacters: 64 },
} as const satisfies Record<NameAttribute, AttributeRow>;

const MAX_ATTRIBUTES = 16;

/** @throws {CryptoError} `CERTIFICATE` for an empty, over-long or unprintable value. */
export function encodeName(name: Name): Uint8Array {
  return sequence(
    ...name.map(([attribute, value]) => {
      const row = ATTRIBUTES[attribute];
      checkValue(attribute, value);
      const text = row.isPrintable ? printableString(value) : utf8String(value);
      return setOf(sequence(objectIdentifier(row.oid), text));
    }),
  );
}

/** Reads a Name; any attribute but the six is refused, as is a set of several. */
export function decodeName(reader: DerReader): Name {
  const names: (readonly [NameAttribute, string])[] = [];
  while (!reader.isAtEnd) {
    if (names.length === MAX_ATTRIBUTES) throw derFailure('a name of more than 16 attributes');
    const set = reader.enter(TAG.SET);
    const pair = set.enter(TAG.SEQUENCE);
    const attribute = attributeOf(pair.next(TAG.OID));
    const value = textOf(pair, attribute);
    pair.end();
    set.end();
    checkValue(attribute, value);
    names.push([attribute, value]);
  }
  return names;
}

function attributeOf(oid: DerElement): NameAttribute {
  const found = attributeByOid.get(Buffer.from(oid.whole).toString('hex'));
  if (found === undefined) throw derFailure('a name attribute that is not used here');
  return found;
}

function textOf(pair: DerReader, attribute: NameAttribute): string {
  const isPrintable = ATTRIBUTES[attribute].isPrintable || pair.peek() === TAG.PRINTABLE_STRING;
  const { contents } = pair.next(isPrintable ? TAG.PRINTABLE_STRING : TAG.UTF8_STRING);
  let text: string;
  try {
    text = toUtf8(contents);
  } catch {
    throw derFailure('text that is not UTF-8');
  }
  if (isPrintable && !PRINTABLE.test(text)) throw derFailure('text that is not printable');
  return text;
}

function checkValue(attribute: NameAttribute, value: string): void {
  const { isPrintable, maxCharacters } = ATTRIBUTES[attribute];
  const isAllowed =
    value.length > 0 &&
    [...value].length <= maxCharacters &&
    value.isWellFormed() &&
    !value.includes('\0') &&
    (!isPrintable || PRINTABLE.test(value)) &&
    (attribute !== 'C' || value.length === 2);
  if (!isAllowed) {
    throw new CryptoError('CERTIFICATE', `a name's ${attribute} is empty, too long or unprintable`);
  }
}

const attributeByOid: ReadonlyMap<string, NameAttribute> = new Map(
  // `Object.keys` of this table gives its keys, which are the attributes.
  (Object.keys(ATTRIBUTES) as NameAttribute[]).map((attribute) => [
    Buffer.from(objectIdentifier(ATTRIBUTES[attribute].oid)).toString('hex'),
    attribute,
  ]),
);
