/** A maker, an owner and HSMs in this process, driven by the calls that the host makes. */
import { type KeyObject, X509Certificate } from 'node:crypto';
import { duplexPair } from 'node:stream';
import { connect } from 'node:tls';
import { publicPoint, sealBox } from '../../../src/crypto/box.ts';
import { signStatement } from '../../../src/crypto/sign.ts';
import {
  generateEcKeyPair,
  issueCertificate,
  type Name,
  parseCsr,
} from '../../../src/crypto/x509.ts';
import { type HsmDisk, memoryDisk, noDisk } from '../../../src/hsm/disk.ts';
import { Hsm, type HsmOptions } from '../../../src/hsm/hsm.ts';
import type {
  Hello,
  HsmCall,
  HsmCalls,
  OpenOutcome,
  SealOutcome,
} from '../../../src/hsm/protocol.ts';
import { concat } from '../../../src/kernel/bytes.ts';
import { DAY_MS, systemClock } from '../../../src/kernel/clock.ts';
import type { BackupId, ClusterId } from '../../../src/kernel/ids.ts';
import { systemRandom } from '../../../src/kernel/random.ts';
import type { EpochMs, JsonObject } from '../../../src/kernel/types.ts';
import { WirePeer } from '../../../src/kernel/wire.ts';

export const CLUSTER = 'cluster-keyark2345abc' as ClusterId;
export const OTHER_CLUSTER = 'cluster-keyark7777abc' as ClusterId;
export const BACKUP = 'backup-keyark2345abc' as BackupId;
export const HSM2M_FIPS = { type: 'hsm2m.medium', mode: 'FIPS' } as const;
export const CODE_SHA256 = 'c0'.repeat(32);

export interface Authority {
  readonly name: string;
  readonly subject: Name;
  readonly key: KeyObject;
  readonly certificate: string;
  readonly rootKey: Uint8Array;
}

let serials = 0;

export function issue(
  issuer: { subject: Name; key: KeyObject },
  subject: Name,
  key: KeyObject,
  isCa: boolean,
): string {
  const now = systemClock.now();
  serials += 1;
  return issueCertificate({
    subject,
    issuer: issuer.subject,
    subjectPublicKey: key,
    issuerKey: issuer.key,
    serial: Uint8Array.of(1, serials >> 8, serials & 255),
    notBefore: (now - DAY_MS) as EpochMs,
    notAfter: (now + DAY_MS) as EpochMs,
    isCa,
  });
}

export function newAuthority(name: string): Authority {
  const { privateKey, publicKey } = generateEcKeyPair();
  const subject: Name = [
    ['O', name],
    ['CN', `${name} root`],
  ];
  const certificate = issue({ subject, key: privateKey }, subject, publicKey, true);
  return { name, subject, key: privateKey, certificate, rootKey: systemRandom.bytes(32) };
}

/** An HSM behind its wire, and what it said without being asked. */
export class Unit {
  readonly hsm: Hsm;
  readonly peer: WirePeer;
  readonly events: { name: string; params: JsonObject }[] = [];
  readonly broken: unknown[] = [];
  readonly #isDrill: boolean;
  readonly #booted = Promise.withResolvers<string>();

  constructor(options: Partial<HsmOptions> = {}) {
    const [inside, outside] = duplexPair();
    this.#isDrill = options.isDrill ?? false;
    this.hsm = new Hsm({
      disk: memoryDisk(),
      clock: systemClock,
      random: systemRandom,
      codeSha256: CODE_SHA256,
      emit: (name, params) => hsmSide.emit(name, { ...params }),
      onBroken: (cause) => this.broken.push(cause),
      ...options,
      isDrill: this.#isDrill,
    });
    const hsmSide = new WirePeer(inside, this.hsm.handlers());
    this.peer = new WirePeer(outside, new Map(), (name, params) => {
      this.events.push({ name, params });
      if (name === 'booted') this.#booted.resolve(String(params['bootKey']));
    });
    this.hsm.start();
  }

  async powerOn(storageKey: Uint8Array | null): Promise<Hello> {
    const bootKey = await this.#booted.promise;
    const box = storageKey === null ? null : sealBox(bootKey, storageKey, 'storage-key');
    return await this.call('power-on', { storageKey: box, isDrill: this.#isDrill });
  }

  async call<Call extends HsmCall>(
    call: Call,
    params: HsmCalls[Call]['params'],
  ): Promise<HsmCalls[Call]['result']> {
    const { result } = await this.peer.call(call, params as unknown as JsonObject);
    return result as unknown as HsmCalls[Call]['result'];
  }

  async seal(backupId: BackupId = BACKUP): Promise<{ body: Uint8Array; outcome: SealOutcome }> {
    const reply = await this.peer.call('seal', { backupId });
    const chunks: Uint8Array[] = [];
    for await (const chunk of reply.body) chunks.push(chunk);
    const outcome = (await reply.trailer) as unknown as SealOutcome;
    return { body: concat(...chunks), outcome };
  }

  async open(
    body: Uint8Array,
    sealRecord: string,
    as: HsmCalls['open']['params']['as'] = { clusterId: CLUSTER, isClone: false },
  ): Promise<OpenOutcome> {
    const chunks = async function* () {
      yield body;
    };
    const params = { sealRecord, as, ...HSM2M_FIPS };
    const { result } = await this.peer.call('open', params, { body: chunks() });
    return result as unknown as OpenOutcome;
  }
}

export class Factory {
  readonly maker = newAuthority('Keyark Works');
  readonly owner = newAuthority('home');
  readonly line = 'K1';
  readonly storageKey = systemRandom.bytes(32);
  readonly customer = newAuthority('customer');
  #made = 0;

  /** FACTORY. */
  async factory(disk: HsmDisk = memoryDisk(), options: Partial<HsmOptions> = {}): Promise<Unit> {
    const unit = new Unit({ ...options, disk });
    await unit.powerOn(options.isDrill === true ? null : this.storageKey);
    return unit;
  }

  async manufacture(unit: Unit): Promise<Unit> {
    this.#made += 1;
    const serial = `KA${this.#made}`;
    const { csr } = await unit.call('device-request', {
      serial,
      vendor: this.maker.name,
      line: this.line,
    });
    await unit.call('manufacture', this.manufactureParams(csr));
    return unit;
  }

  manufactureParams(csr: string): HsmCalls['manufacture']['params'] {
    const { subject, publicKey } = parseCsr(csr);
    return {
      makerRoot: this.maker.certificate,
      manufacturerHardwareCertificate: issue(this.maker, subject, publicKey, true),
      mkbkEpoch: 1,
      mkbk: sealBox(publicPoint(publicKey), this.maker.rootKey, `mkbk/${this.line}/1`),
    };
  }

  /** @param device the name and key that the owner certifies: the device's own. */
  async enrolParams(
    unit: Unit,
    given: { owner?: Authority; epoch?: number; key?: Uint8Array } = {},
  ): Promise<HsmCalls['enrol']['params']> {
    const { owner = this.owner, epoch = 1, key = owner.rootKey } = given;
    const hello = await unit.call('hello', {});
    const { subject, publicKey } = deviceOf(hello);
    const akbk = sealBox(publicPoint(publicKey), key, `akbk/${owner.name}/${epoch}`);
    const statement = {
      owner: owner.name,
      akbkEpoch: epoch,
      akbk: { ...akbk },
      serial: String(hello.serial),
    };
    return {
      owner: owner.name,
      ownerRoot: owner.certificate,
      ownerHardwareCertificate: issue(owner, subject, publicKey, true),
      akbkEpoch: epoch,
      akbk,
      signature: signStatement(owner.key, statement),
    };
  }

  /** Made and enrolled. */
  async blank(disk?: HsmDisk, options: Partial<HsmOptions> = {}): Promise<Unit> {
    const unit = await this.manufacture(await this.factory(disk, options));
    await unit.call('enrol', await this.enrolParams(unit));
    return unit;
  }

  async drill(): Promise<Unit> {
    return await this.blank(noDisk(), { isDrill: true });
  }

  async installParams(unit: Unit): Promise<HsmCalls['install']['params']> {
    const { certificates } = await unit.call('hello', {});
    const { subject, publicKey } = parseCsr(String(certificates?.clusterCsr));
    return {
      clusterCertificate: issue(this.customer, subject, publicKey, false),
      trustAnchor: this.customer.certificate,
    };
  }

  async initialized(disk?: HsmDisk): Promise<Unit> {
    const unit = await this.blank(disk);
    await unit.call('certify', { clusterId: CLUSTER, ...HSM2M_FIPS });
    await unit.call('install', await this.installParams(unit));
    return unit;
  }
}

/** What a hardware certificate says of the device; the subject is rebuilt from `hello`. */
function deviceOf(hello: Hello): { subject: Name; publicKey: KeyObject } {
  const { serial, domain, certificates } = hello;
  const pem = String(certificates?.manufacturerHardwareCertificate);
  const subject: Name = [
    ['O', String(domain?.vendor)],
    ['OU', String(domain?.line)],
    ['serialNumber', String(serial)],
    ['CN', `HSM:${serial}`],
  ];
  return { subject, publicKey: new X509Certificate(pem).publicKey };
}

export const ADMIN_PASSWORD = 'first-admin-password';
export const USER_PASSWORD = 'crypto-user-password';

/** An officer's session through the HSM's own TLS door. */
export function officer(unit: Unit, trustAnchor: string): WirePeer {
  const [inside, outside] = duplexPair();
  unit.hsm.adopt(inside, 'officers');
  const socket = connect({
    socket: outside,
    ca: trustAnchor,
    checkServerIdentity: () => undefined,
  });
  socket.on('error', () => {});
  return new WirePeer(socket, new Map());
}

/** An active cluster of one: admin, one user, a key of each kind, all made through the door. */
export async function activate(factory: Factory, unit: Unit): Promise<void> {
  const peer = officer(unit, factory.customer.certificate);
  await peer.call('activate', { password: ADMIN_PASSWORD });
  await peer.call('login', { username: 'admin', role: 'admin', password: ADMIN_PASSWORD });
  const user = { username: 'alice', role: 'crypto-user', password: USER_PASSWORD };
  await peer.call('user-create', user);
  await peer.call('logout', {});
  await peer.call('login', user);
  const type = { type: 'aes', bytes: 32 };
  await peer.call('key-generate-symmetric', { ...type, label: 'first' });
  await peer.call('key-generate-symmetric', { ...type, type: 'generic-secret', label: 'mac' });
  await peer.call('key-generate-pair', { type: 'ec', curve: 'P-256', label: 'ec' });
  await peer.call('key-generate-pair', { type: 'rsa', bits: 2048, label: 'rsa' });
  peer.close();
}
