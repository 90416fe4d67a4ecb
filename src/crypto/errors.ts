/**
 * What the cryptography of the boundary refuses, as codes.
 *
 * One code, one sentence per failing path: an unwrap that fails says nothing about which byte, pad,
 * length or key was wrong, because that difference is what a padding oracle feeds on.
 */
export type CryptoErrorCode =
  /** A key-encryption key that is not 32 secret bytes. */
  | 'KEK_LENGTH'
  /** More or fewer plaintext bytes than the algorithm (or our rule) takes. */
  | 'PLAINTEXT_LENGTH'
  /** Any other size that the caller got wrong: keys, nonces, segments, output. */
  | 'LENGTH'
  /** A wrapped key that does not unwrap, for whatever reason. */
  | 'UNWRAP'
  /** A sealed message that does not open, for whatever reason. */
  | 'DECRYPT'
  /** A box that does not open, or a public key that no box can be made to. */
  | 'BOX'
  /** A certificate or request that is malformed, badly signed or not what it claims. */
  | 'CERTIFICATE'
  /** A key of a kind that the operation does not take. */
  | 'KEY_KIND'
  /** Bytes that are not strict DER. */
  | 'DER'
  /** A known answer was not known: the process must stop using cryptography. */
  | 'SELF_TEST';

export class CryptoError extends Error {
  override readonly name = 'CryptoError';
  readonly code: CryptoErrorCode;

  constructor(code: CryptoErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
