/**
 * What an owner does to a device he bought: checks that the maker vouches for it, certifies the same
 * subject and key under his own authority, and installs his backup key. The device pins the owner's
 * root at its first enrolment; later ones must be signed by the same key and carry a higher epoch.
 */
import { X509Certificate } from 'node:crypto';
import { sealBox } from '../crypto/box.ts';
import { signStatement } from '../crypto/sign.ts';
import { checkIssued } from '../crypto/x509.ts';
import { certifyDevice, type Device, type Issuing, publicPointOf } from './device.ts';
import type { HsmLine } from './line.ts';
import type { Maker, Owner } from './roots.ts';

/** @throws CryptoError `CERTIFICATE` when the maker does not vouch for the device. */
export async function enrol(
  hsm: HsmLine,
  device: Device & { readonly serial: string; readonly manufacturerHardwareCertificate: string },
  given: { readonly maker: Maker; readonly owner: Owner; readonly issuing: Issuing },
): Promise<void> {
  const { maker, owner, issuing } = given;
  checkIssued(device.manufacturerHardwareCertificate, maker.certificate);
  const vouchedFor: Device = {
    subject: device.subject,
    publicKey: new X509Certificate(device.manufacturerHardwareCertificate).publicKey,
  };
  const { epoch, key } = owner.akbk;
  const akbk = sealBox(publicPointOf(vouchedFor), key.expose(), `akbk/${owner.name}/${epoch}`);
  const statement = {
    owner: owner.name,
    akbkEpoch: epoch,
    akbk: { ...akbk },
    serial: device.serial,
  };
  await hsm.call('enrol', {
    owner: owner.name,
    ownerRoot: owner.certificate,
    ownerHardwareCertificate: certifyDevice(owner, vouchedFor, issuing),
    akbkEpoch: epoch,
    akbk,
    signature: signStatement(owner.caKey, statement),
  });
}
