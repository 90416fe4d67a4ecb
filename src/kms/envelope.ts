/**
 * The second layer: AES-256-GCM over a backup's body and key record, under the backup's data key. It is
 * what a thief of the vault meets first. docs/formats/second-layer-v1.md has the bytes.
 *
 * Bodies stream in chunks of 64 KiB, each authenticated on its own; the nonce carries the chunk's number
 * and whether it is the last (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár), so
 * cut, re-ordered, repeated and extended streams do not open. Memory is flat in the body's size.
 * Every stream and every small record has a key of its own, derived from the data key and a random salt.
 */
import { openAead, sealAead } from '../crypto/aead.ts';
import { CryptoError } from '../crypto/errors.ts';
import { deriveKey, lengthPrefixed } from '../crypto/kdf.ts';
import { concat, equalBytes, fromUtf8, u32 } from '../kernel/bytes.ts';
import { Failed } from '../kernel/errors.ts';
import { type Random, systemRandom } from '../kernel/random.ts';
import { Secret } from '../kernel/secret.ts';
import { ByteSource } from './byte-source.ts';

const STREAM_MAGIC = fromUtf8('KYSTRM1\n');
const SMALL_MAGIC = fromUtf8('KYSMAL1\n');
const STREAM_LABEL = 'keyark second layer v1: stream';
const SMALL_LABEL = 'keyark second layer v1: small record';
const SALT_BYTES = 16;
const HEADER_BYTES = 8 + SALT_BYTES;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const CHUNK_BYTES = 64 * 1024;
const MAX_CHUNKS = 2 ** 32;
const NO_AAD = new Uint8Array(0);

/** @param key the backup's 32-byte data key; it stays the caller's. */
export async function* encryptStream(
  key: Secret,
  body: AsyncIterable<Uint8Array>,
  random: Random = systemRandom,
): AsyncIterable<Uint8Array> {
  const source = new ByteSource(body);
  try {
    const header = concat(STREAM_MAGIC, random.bytes(SALT_BYTES));
    using streamKey = derive(key, STREAM_LABEL, header);
    yield header;
    for (let index = 0, isLast = false; !isLast; index += 1) {
      const chunk = await source.take(CHUNK_BYTES);
      isLast = await source.isAtEnd();
      yield sealAead(streamKey.expose(), streamNonce(index, isLast), chunk, NO_AAD);
    }
  } finally {
    await source.close();
  }
}

/**
 * @throws Failed `VAULT_READ` before its end for every stream that `encryptStream` did not make with this
 *   key, always in the same words; whatever `sealed` throws.
 */
export async function* decryptStream(
  key: Secret,
  sealed: AsyncIterable<Uint8Array>,
): AsyncIterable<Uint8Array> {
  const source = new ByteSource(sealed);
  try {
    const header = await source.take(HEADER_BYTES);
    checkHeader(header, STREAM_MAGIC);
    using streamKey = derive(key, STREAM_LABEL, header);
    for (let index = 0, isLast = false; !isLast; index += 1) {
      const chunk = await source.take(CHUNK_BYTES + TAG_BYTES);
      isLast = await source.isAtEnd();
      yield openOrRefuse(streamKey, streamNonce(index, isLast), chunk);
    }
  } finally {
    await source.close();
  }
}

/** One small record in one piece. @param name what it is; opening under another name is refused. */
export function sealSmall(
  key: Secret,
  name: string,
  bytes: Uint8Array,
  random: Random = systemRandom,
): Uint8Array {
  const header = concat(SMALL_MAGIC, random.bytes(SALT_BYTES));
  using smallKey = derive(key, SMALL_LABEL, header, fromUtf8(name));
  // The key is used once, for this record: a constant nonce is a unique one.
  return concat(header, sealAead(smallKey.expose(), new Uint8Array(NONCE_BYTES), bytes, NO_AAD));
}

/** @throws Failed `VAULT_READ`, always in the same words. */
export function openSmall(key: Secret, name: string, sealed: Uint8Array): Uint8Array {
  const header = sealed.subarray(0, HEADER_BYTES);
  checkHeader(header, SMALL_MAGIC);
  using smallKey = derive(key, SMALL_LABEL, header, fromUtf8(name));
  return openOrRefuse(smallKey, new Uint8Array(NONCE_BYTES), sealed.subarray(HEADER_BYTES));
}

function derive(key: Secret, label: string, ...context: Uint8Array[]): Secret {
  return new Secret(
    deriveKey({
      key: key.expose(),
      label,
      context: lengthPrefixed(...context),
      lengthBytes: 32,
    }),
  );
}

/** `7 zero octets ‖ u32 index ‖ u8 isLast`. */
function streamNonce(index: number, isLast: boolean): Uint8Array {
  if (index >= MAX_CHUNKS) throw new Failed('VAULT_WRITE', 'a body of more than 256 TiB');
  return concat(new Uint8Array(7), u32(index), new Uint8Array([isLast ? 1 : 0]));
}

function openOrRefuse(key: Secret, nonce: Uint8Array, sealed: Uint8Array): Uint8Array {
  if (sealed.length < TAG_BYTES) throw doesNotOpen();
  try {
    return openAead(key.expose(), nonce, sealed, NO_AAD);
  } catch (cause) {
    // The cause is dropped: there is one thing to say, whatever was wrong.
    if (cause instanceof CryptoError) throw doesNotOpen();
    throw cause;
  }
}

function checkHeader(header: Uint8Array, magic: Uint8Array): void {
  const isKnown =
    header.length === HEADER_BYTES && equalBytes(header.subarray(0, magic.length), magic);
  if (!isKnown) throw doesNotOpen();
}

const doesNotOpen = (): Failed => new Failed('VAULT_READ', 'the second layer does not open');
