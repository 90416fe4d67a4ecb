/**
 * What a maker does to a device that this host started: certifies the key it made inside itself and
 * embeds the product line's backup key, readable by that device only.
 *
 * The hardware certificate is a CA with path length 0: the device key issues the HSM's certificate.
 */
import { sealBox } from '../crypto/box.ts';
import {
  certifyDevice,
  type Device,
  type Issuing,
  publicPointOf,
  verifiedRequest,
} from './device.ts';
import type { HsmLine } from './line.ts';
import type { Maker } from './roots.ts';

/** @throws Failed `START` when the device answers with something else than its own request. */
export async function manufacture(
  hsm: HsmLine,
  serial: string,
  maker: Maker,
  issuing: Issuing,
): Promise<Device & { manufacturerHardwareCertificate: string }> {
  const { csr } = await hsm.call('device-request', {
    serial,
    vendor: maker.vendor,
    line: maker.line,
  });
  const device = verifiedRequest(csr, serial);
  const manufacturerHardwareCertificate = certifyDevice(maker, device, issuing);
  await hsm.call('manufacture', {
    makerRoot: maker.certificate,
    manufacturerHardwareCertificate,
    mkbkEpoch: maker.mkbk.epoch,
    mkbk: sealBox(
      publicPointOf(device),
      maker.mkbk.key.expose(),
      `mkbk/${maker.line}/${maker.mkbk.epoch}`,
    ),
  });
  return { ...device, manufacturerHardwareCertificate };
}
