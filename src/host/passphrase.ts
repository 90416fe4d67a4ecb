/**
 * The passphrase over the roots. A random key seals every root file; the passphrase (through Argon2id)
 * seals that key in `lock.json`. So a new passphrase rewrites one small file, and a half-finished
 * sealing is completed by the next unlock.
 *
 * Sealed file: JSON `{ nonce, sealed }`, AES-256-GCM, the file's own name as associated data, so that
 * one root file cannot be put in another's place.
 */
import { openAead, sealAead } from '../crypto/aead.ts';
import { CryptoError } from '../crypto/errors.ts';
import { PasswordHasher } from '../crypto/password.ts';
import { fromBase64, fromUtf8, toBase64 } from '../kernel/bytes.ts';
import { Failed, Refused } from '../kernel/errors.ts';
import type { Random } from '../kernel/random.ts';
import { Secret } from '../kernel/secret.ts';

const COST = { memoryKiB: 65_536, passes: 3 };
const MOST_MEMORY_KIB = 1024 * 1024;
const MOST_PASSES = 64;
const LEAST_PASSPHRASE_BYTES = 8;
const MOST_PASSPHRASE_BYTES = 1_024;
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const SALT_BYTES = 16;
const LOCK_NAME = 'lock.json';

interface Lock {
  readonly version: 1;
  readonly salt: string;
  readonly memoryKiB: number;
  readonly passes: number;
  readonly nonce: string;
  readonly sealedKey: string;
}

/** A new random key and the text of the lock file that gives it back for the passphrase. */
export async function makeLock(passphrase: Uint8Array, random: Random, key?: Secret) {
  checkPassphrase(passphrase);
  const fileKey = key ?? new Secret(random.bytes(KEY_BYTES));
  const salt = random.bytes(SALT_BYTES);
  const nonce = random.bytes(NONCE_BYTES);
  using over = await stretch(passphrase, { salt, ...COST });
  const lock: Lock = {
    version: 1,
    salt: toBase64(salt),
    ...COST,
    nonce: toBase64(nonce),
    sealedKey: toBase64(sealAead(over.expose(), nonce, fileKey.expose(), fromUtf8(LOCK_NAME))),
  };
  return { fileKey, text: `${JSON.stringify(lock)}\n` };
}

/** @throws Refused `NotAuthenticated` for a wrong passphrase, Failed `DISK_DAMAGED`. */
export async function openLock(text: string, passphrase: Uint8Array): Promise<Secret> {
  checkPassphrase(passphrase);
  const lock = parseLock(text);
  using over = await stretch(passphrase, { ...lock, salt: fromBase64(lock.salt) });
  try {
    return new Secret(
      openAead(
        over.expose(),
        fromBase64(lock.nonce),
        fromBase64(lock.sealedKey),
        fromUtf8(LOCK_NAME),
      ),
    );
  } catch (cause) {
    if (!(cause instanceof CryptoError)) throw cause;
    throw new Refused('NotAuthenticated', 'That passphrase does not open the roots.');
  }
}

export function sealFile(key: Secret, name: string, content: Uint8Array, random: Random): string {
  const nonce = random.bytes(NONCE_BYTES);
  const sealed = sealAead(key.expose(), nonce, content, fromUtf8(name));
  return `${JSON.stringify({ nonce: toBase64(nonce), sealed: toBase64(sealed) })}\n`;
}

/** The file as it rests: sealed, or (evaluation roots, or a sealing that was cut short) plain. */
export function isSealedFile(value: object): value is { nonce: string; sealed: string } {
  return (
    'sealed' in value &&
    typeof value.sealed === 'string' &&
    'nonce' in value &&
    typeof value.nonce === 'string'
  );
}

export function openFile(
  key: Secret,
  name: string,
  file: { nonce: string; sealed: string },
): Uint8Array {
  try {
    return openAead(key.expose(), fromBase64(file.nonce), fromBase64(file.sealed), fromUtf8(name));
  } catch (cause) {
    throw new Failed('DISK_DAMAGED', `root file ${name} is damaged or belongs elsewhere`, {
      cause,
    });
  }
}

async function stretch(
  passphrase: Uint8Array,
  cost: { salt: Uint8Array; memoryKiB: number; passes: number },
): Promise<Secret> {
  const hasher = new PasswordHasher({ maxQueued: 1 });
  const { salt, memoryKiB, passes } = cost;
  return new Secret(await hasher.hash(passphrase, { salt, memoryKiB, passes }));
}

function checkPassphrase(passphrase: Uint8Array): void {
  if (passphrase.length < LEAST_PASSPHRASE_BYTES || passphrase.length > MOST_PASSPHRASE_BYTES) {
    throw new Refused(
      'InvalidRequest',
      `The passphrase has ${passphrase.length} bytes; it must have ${LEAST_PASSPHRASE_BYTES} to ${MOST_PASSPHRASE_BYTES}.`,
    );
  }
}

function parseLock(text: string): Lock {
  const damaged = (cause?: unknown) =>
    new Failed('DISK_DAMAGED', `${LOCK_NAME} of the roots is damaged`, { cause });
  let value: Partial<Lock> | null;
  try {
    // Partial of the shape; every member is judged below before it is used.
    value = JSON.parse(text) as Partial<Lock> | null;
  } catch (cause) {
    throw damaged(cause);
  }
  const { version, salt, memoryKiB, passes, nonce, sealedKey } = value ?? {};
  const isWhole = (n: unknown, most: number): n is number =>
    typeof n === 'number' && Number.isInteger(n) && n > 0 && n <= most;
  if (
    version !== 1 ||
    typeof salt !== 'string' ||
    typeof nonce !== 'string' ||
    typeof sealedKey !== 'string' ||
    !isWhole(memoryKiB, MOST_MEMORY_KIB) ||
    !isWhole(passes, MOST_PASSES)
  ) {
    throw damaged();
  }
  return { version, salt, memoryKiB, passes, nonce, sealedKey };
}
