/** PEM (RFC 7468): one block in, one block out. */
import { fromBase64, toBase64 } from '../kernel/bytes.ts';
import { CryptoError } from './errors.ts';

export type PemLabel = 'CERTIFICATE' | 'CERTIFICATE REQUEST';

const MAX_PEM_CHARACTERS = 96 * 1024;
const LINE_CHARACTERS = 64;

export function encodePem(label: PemLabel, der: Uint8Array): string {
  const base64 = toBase64(der);
  const lines = base64.match(new RegExp(`.{1,${LINE_CHARACTERS}}`, 'g')) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}

/**
 * The bytes of the only block in `text`. Explanations around it are skipped (RFC 7468 §2): `openssl ca`
 * writes such.
 * @throws {CryptoError} `CERTIFICATE` when there is no such block, several, or bad base64.
 */
export function decodePem(label: PemLabel, text: string): Uint8Array {
  const failure = (why: string, cause?: unknown) =>
    new CryptoError('CERTIFICATE', `expected one PEM block "${label}": ${why}`, { cause });
  if (text.length > MAX_PEM_CHARACTERS) throw failure('the text is longer than 96 KiB');
  const begin = `-----BEGIN ${label}-----`;
  const parts = text.split('-----BEGIN ');
  if (parts.length !== 2) throw failure(`${parts.length - 1} blocks were found`);
  const from = text.indexOf(begin);
  const to = text.indexOf(`-----END ${label}-----`);
  if (from === -1 || to < from) throw failure('its first or last line is missing');
  const body = text.slice(from + begin.length, to).replace(/[ \t\r\n]+/g, '');
  if (body === '') throw failure('it is empty');
  try {
    return fromBase64(body);
  } catch (cause) {
    throw failure('its contents are not base64', cause);
  }
}
