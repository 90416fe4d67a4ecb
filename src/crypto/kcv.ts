/**
 * AES-CMAC (NIST SP 800-38B §6.2) and key check values made of it.
 *
 * A check value lets two people see that they hold the same key without showing it. Made by CMAC of a
 * zero block (the ANSI X9.24-1 way) and never by plain AES of zeros, which is a block of key-wrap
 * traffic under the same key.
 */
import { createCipheriv, createSecretKey, type KeyObject } from 'node:crypto';
import { CryptoError } from './errors.ts';
import { asBytes, wipe } from './views.ts';

export const KEY_CHECK_BYTES = 3;

const BLOCK_BYTES = 16;
const AES_KEY_BYTES: readonly number[] = [16, 24, 32];
/** R_128 of §5.3. */
const REDUCTION = 0x87;

/**
 * Source: NIST SP 800-38B §6.2.
 * @param key 16, 24 or 32 bytes.
 * @param data any number of bytes.
 * @returns 16 bytes.
 * @throws {CryptoError} `LENGTH` for another size of key.
 */
export function aesCmac(key: Uint8Array | KeyObject, data: Uint8Array): Uint8Array {
  const aesKey = key instanceof Uint8Array ? createSecretKey(key) : key;
  const keyBytes = aesKey.type === 'secret' ? (aesKey.symmetricKeySize ?? 0) : 0;
  if (!AES_KEY_BYTES.includes(keyBytes)) {
    throw new CryptoError('LENGTH', 'an AES key is 16, 24 or 32 secret bytes');
  }
  const cipher = `aes-${keyBytes * 8}-cbc`;
  const blocks = Math.max(1, Math.ceil(data.length / BLOCK_BYTES));
  const message = new Uint8Array(blocks * BLOCK_BYTES);
  message.set(data);
  const isComplete = data.length === message.length;
  if (!isComplete) message[data.length] = 0x80;

  const k1 = doubled(cbc(cipher, aesKey, new Uint8Array(BLOCK_BYTES)));
  const subkey = isComplete ? k1 : doubled(k1);
  const last = message.subarray(message.length - BLOCK_BYTES);
  subkey.forEach((byte, i) => {
    // Both are one block long.
    last[i] = (last[i] as number) ^ byte;
  });
  const chained = cbc(cipher, aesKey, message);
  const mac = new Uint8Array(chained.subarray(chained.length - BLOCK_BYTES));
  wipe(message, k1, subkey, chained);
  return mac;
}

/**
 * The first 3 bytes of the CMAC of a zero block.
 * @param key an AES key: 16, 24 or 32 bytes.
 * @throws {CryptoError} `LENGTH` for another size of key.
 */
export function keyCheckValue(key: Uint8Array | KeyObject): Uint8Array {
  return aesCmac(key, new Uint8Array(BLOCK_BYTES)).slice(0, KEY_CHECK_BYTES);
}

function cbc(name: string, key: KeyObject, data: Uint8Array): Uint8Array {
  const cipher = createCipheriv(name, key, new Uint8Array(BLOCK_BYTES));
  cipher.setAutoPadding(false);
  const out = asBytes(cipher.update(data));
  cipher.final();
  return out;
}

/** Multiplication by x in GF(2^128), without a branch on the secret bit (§6.1). */
function doubled(block: Uint8Array): Uint8Array {
  const out = new Uint8Array(BLOCK_BYTES);
  let carry = 0;
  for (let i = BLOCK_BYTES - 1; i >= 0; i -= 1) {
    // i stays inside the block.
    const byte = block[i] as number;
    out[i] = (byte << 1) | carry;
    carry = byte >> 7;
  }
  out[BLOCK_BYTES - 1] = (out[BLOCK_BYTES - 1] as number) ^ (-carry & REDUCTION);
  return out;
}
