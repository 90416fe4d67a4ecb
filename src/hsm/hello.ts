/** What `hello` says of the device and the partition: names, epochs and certificates, never a key. */
import { countsOf, NO_COUNTS } from './counts.ts';
import type { DeviceRecord } from './device-record.ts';
import type { DurableStore } from './durable-store.ts';
import type { Hello, HsmCertificates } from './protocol.ts';
import type { Partition } from './state.ts';

type Contents = Omit<Hello, 'protocolVersion' | 'lifecycle' | 'codeSha256' | 'isDrill'>;

export function contentsOf(store: DurableStore): Contents {
  const { device } = store;
  const shared = store.hasPartition ? store.shared : null;
  return {
    ...(device === null ? {} : deviceFacts(device)),
    ...(shared === null ? {} : partitionFacts(shared.partition)),
    generation: shared?.generation ?? 0,
    counts: shared === null ? NO_COUNTS : countsOf(shared),
    ...(device?.maker == null ? {} : { certificates: certificatesOf(device, shared?.partition) }),
  };
}

function deviceFacts({ serial, vendor, line, maker, owner }: DeviceRecord): Partial<Hello> {
  const mkbk = maker?.mkbks.at(-1)?.epoch;
  const akbk = owner?.akbks.at(-1)?.epoch;
  return {
    serial,
    domain: { vendor, line, ...(owner === null ? {} : { owner: owner.owner }) },
    epochs: { ...(mkbk === undefined ? {} : { mkbk }), ...(akbk === undefined ? {} : { akbk }) },
  };
}

function partitionFacts({ clusterId, incarnation, type, mode }: Partition): Partial<Hello> {
  return { clusterId, incarnation, type, mode };
}

function certificatesOf(device: DeviceRecord, partition: Partition | undefined): HsmCertificates {
  const present = {
    manufacturerHardwareCertificate: device.maker?.hardwareCertificate ?? null,
    ownerHardwareCertificate: device.owner?.hardwareCertificate ?? null,
    hsmCertificate: partition === undefined ? null : device.hsmCertificate,
    clusterCsr: partition?.clusterCsr ?? null,
    clusterCertificate: partition?.clusterCertificate ?? null,
    trustAnchor: partition?.trustAnchor ?? null,
  };
  return Object.fromEntries(Object.entries(present).filter(([, pem]) => pem !== null));
}
