/**
 * A box: a short secret that one device only can read.
 *
 * Ephemeral ECDH on P-256 (NIST SP 800-56A r3 §6.2.2, one-pass Diffie-Hellman), two-step key derivation
 * (SP 800-56C r2 §5: HMAC-SHA-256 extraction, SP 800-108 counter-mode expansion) bound to the purpose
 * and to both public keys, then KWP. A box carries no proof of its sender; who needs one signs it.
 */
import {
  createECDH,
  createHmac,
  createPublicKey,
  createSecretKey,
  diffieHellman,
  type KeyObject,
} from 'node:crypto';
import { asBuffer, concat, fromBase64, fromUtf8, toBase64 } from '../kernel/bytes.ts';
import type { Random } from '../kernel/random.ts';
import { CryptoError } from './errors.ts';
import { deriveKey, lengthPrefixed } from './kdf.ts';
import { isP256, publicKeyOf } from './keys.ts';
import { KEK_BYTES, unwrapKwp, wrapKwp } from './kwp.ts';
import { asBytes, wipe } from './views.ts';

export interface SealedBox {
  /** Base64 of the uncompressed P-256 point, 65 bytes. */
  readonly ephemeralPublicKey: string;
  /** Base64 of the secret under KWP. */
  readonly wrapped: string;
}

const LABEL = 'Keyark box v1';
const CURVE = 'prime256v1';
const COORDINATE_BYTES = 32;
const UNCOMPRESSED = 0x04;
/** SP 800-56C r2 §5.1: without a salt, as many zero bytes as the hash's block has. */
const NO_SALT = new Uint8Array(64);
/** A random scalar is out of range with probability 2^-32; eight tries never fail by luck. */
const MAX_SCALAR_TRIES = 8;

/**
 * @param publicKey the device's point: base64 of 65 bytes, `publicPoint` makes it.
 * @param secret 9 bytes or more.
 * @param purpose what the secret is; `openBox` must be asked with the same.
 * @param random for tests that repeat themselves; OpenSSL's generator when absent.
 * @throws {CryptoError} `BOX` for a point that is none on the curve, `PLAINTEXT_LENGTH`.
 */
export function sealBox(
  publicKey: string,
  secret: Uint8Array,
  purpose: string,
  random?: Random,
): SealedBox {
  const device = decodePoint(publicKey);
  const ephemeral = createECDH(CURVE);
  if (random === undefined) ephemeral.generateKeys();
  else setRandomScalar(ephemeral, random);
  const ephemeralPoint = asBytes(ephemeral.getPublicKey());
  const kek = boxKek(asBytes(ephemeral.computeSecret(device)), purpose, ephemeralPoint, device);
  return {
    ephemeralPublicKey: toBase64(ephemeralPoint),
    wrapped: toBase64(wrapKwp(kek, secret)),
  };
}

/**
 * @param privateKey the device's P-256 key.
 * @throws {CryptoError} `KEY_KIND` for another kind of key; `BOX` for everything else.
 */
export function openBox(privateKey: KeyObject, box: SealedBox, purpose: string): Uint8Array {
  if (privateKey.type !== 'private' || !isP256(privateKey)) {
    throw new CryptoError('KEY_KIND', 'a box is opened with a private P-256 key');
  }
  try {
    const ephemeralPoint = decodePoint(box.ephemeralPublicKey);
    const shared = diffieHellman({ privateKey, publicKey: keyOfPoint(ephemeralPoint) });
    const device = fromBase64(publicPoint(privateKey));
    const kek = boxKek(asBytes(shared), purpose, ephemeralPoint, device);
    return unwrapKwp(kek, fromBase64(box.wrapped));
  } catch {
    // Bad base64, bad point, wrong key, wrong purpose, wrong bytes: one answer.
    throw new CryptoError('BOX', 'the box does not open with this key for this purpose');
  }
}

/** Base64 of 04 ‖ X ‖ Y. @throws {CryptoError} `KEY_KIND` unless the key is on P-256. */
export function publicPoint(key: KeyObject): string {
  if (!isP256(key)) throw new CryptoError('KEY_KIND', 'only P-256 keys have a point here');
  const { x, y } = publicKeyOf(key).export({ format: 'jwk' });
  const coordinate = (text: unknown) => asBytes(Buffer.from(String(text), 'base64url'));
  return toBase64(concat(Uint8Array.of(UNCOMPRESSED), coordinate(x), coordinate(y)));
}

function boxKek(
  shared: Uint8Array,
  purpose: string,
  ephemeralPoint: Uint8Array,
  devicePoint: Uint8Array,
): KeyObject {
  const extracted = createHmac('sha256', NO_SALT).update(shared).digest();
  const kek = deriveKey({
    key: extracted,
    label: LABEL,
    context: lengthPrefixed(fromUtf8(purpose), ephemeralPoint, devicePoint),
    lengthBytes: KEK_BYTES,
  });
  const object = createSecretKey(kek);
  wipe(shared, extracted, kek);
  return object;
}

/** SP 800-56A r3 §5.6.2.3.3: the curve's equation is checked when node reads the key. */
function decodePoint(text: string): Uint8Array {
  try {
    const point = fromBase64(text);
    keyOfPoint(point);
    return point;
  } catch {
    // Whatever is wrong with it, no box can be made to it.
    throw new CryptoError('BOX', 'not an uncompressed P-256 point in base64');
  }
}

function keyOfPoint(point: Uint8Array): KeyObject {
  if (point.length !== 1 + 2 * COORDINATE_BYTES || point[0] !== UNCOMPRESSED) {
    throw new CryptoError('BOX', 'not an uncompressed P-256 point');
  }
  const coordinate = (from: number) =>
    asBuffer(point.subarray(from, from + COORDINATE_BYTES)).toString('base64url');
  return createPublicKey({
    format: 'jwk',
    key: { kty: 'EC', crv: 'P-256', x: coordinate(1), y: coordinate(1 + COORDINATE_BYTES) },
  });
}

function setRandomScalar(ephemeral: ReturnType<typeof createECDH>, random: Random): void {
  for (let tries = 1; ; tries += 1) {
    const scalar = random.bytes(COORDINATE_BYTES);
    try {
      ephemeral.setPrivateKey(scalar);
      return;
    } catch (cause) {
      // Zero or not below the curve's order: draw again (SP 800-56A r3 §5.6.1.2.2).
      if (tries === MAX_SCALAR_TRIES) throw cause;
    } finally {
      wipe(scalar);
    }
  }
}
