/** The customer's certificates, checked before an HSM sees them: InitializeCluster's rules. */
import { X509Certificate } from 'node:crypto';
import { samePublicKey } from '../crypto/x509.ts';
import { Refused } from '../kernel/errors.ts';

const ANCHOR_MODULUS_BITS = [2048, 4096];

/**
 * The trust anchor is self-signed RSA of 2048 or 4096 bits and signed the cluster certificate itself; the
 * certificate holds the key of the CSR.
 * @throws Refused `InvalidRequest` with what is wrong and what would work.
 */
export function checkCustomerChain(pem: {
  csrKeyHolder: string;
  signedCert: string;
  trustAnchor: string;
}): void {
  const anchor = read('TrustAnchor', pem.trustAnchor);
  const signed = read('SignedCert', pem.signedCert);
  if (anchor.subject !== anchor.issuer || !anchor.verify(anchor.publicKey)) {
    refuse('TrustAnchor is not self-signed; pass the root certificate that signed the CSR.');
  }
  const { asymmetricKeyType, asymmetricKeyDetails } = anchor.publicKey;
  const bits = asymmetricKeyDetails?.modulusLength ?? 0;
  if (asymmetricKeyType !== 'rsa' || !ANCHOR_MODULUS_BITS.includes(bits)) {
    refuse(
      `TrustAnchor has a key of type ${asymmetricKeyType} (${bits} bits); it must be RSA with 2048 or 4096 bits.`,
    );
  }
  if (!anchor.ca) refuse('TrustAnchor is not a CA certificate (Basic Constraints CA:TRUE).');
  if (!signed.checkIssued(anchor) || !signed.verify(anchor.publicKey)) {
    refuse('SignedCert was not signed by TrustAnchor; sign the cluster CSR with that very root.');
  }
  if (!samePublicKey(signed.publicKey, read('HSM certificate', pem.csrKeyHolder).publicKey)) {
    refuse(
      'SignedCert holds another key than the cluster CSR. If the HSM was replaced, there is a new CSR: read it with DescribeClusters and sign that.',
    );
  }
}

function read(name: string, pem: string): X509Certificate {
  try {
    if (pem.split('-----BEGIN').length !== 2) throw new TypeError('not exactly one PEM block');
    return new X509Certificate(pem);
  } catch (cause) {
    throw new Refused('InvalidRequest', `${name} is not one PEM certificate.`, { cause });
  }
}

function refuse(message: string): never {
  throw new Refused('InvalidRequest', message);
}
