/** What the host's calls take, one shape per call; the readers are those of the doors (`params.ts`). */
import type { SealedBox } from '../crypto/box.ts';
import { Refused } from '../kernel/errors.ts';
import { parseBackupId, parseClusterId } from '../kernel/ids.ts';
import {
  flagParam,
  object,
  oneOf,
  optional,
  parseParams,
  pem,
  type Reader,
  text,
  whole,
} from './params.ts';
import type { HsmCall } from './protocol.ts';

const MAX_BOX_CHARACTERS = 1_024;
const MAX_SENTENCE_CHARACTERS = 512;
const MAX_SEAL_RECORD_CHARACTERS = 4_096;
const MAX_PROFILE_CHARACTERS = 32;
const MAX_EPOCH = 0xffff_ffff;
/** Far beyond what counting by ones reaches, and far from where numbers lose their last digit. */
const MAX_GENERATION = 2 ** 48;

function textUpTo(max: number): Reader<string> {
  return (value, name) => {
    if (typeof value !== 'string' || value.length === 0 || value.length > max) {
      throw new Refused(
        'InvalidRequest',
        `parameter "${name}" takes text of 1 to ${max} characters.`,
      );
    }
    return value;
  };
}

function orNull<T>(read: Reader<T>): Reader<T | null> {
  return (value, name) => (value === null ? null : read(value, name));
}

const boxText = textUpTo(MAX_BOX_CHARACTERS);
const box: Reader<SealedBox> = (value, name) =>
  parseParams(name, { ephemeralPublicKey: boxText, wrapped: boxText }, object(value, name));
const clusterId: Reader<ReturnType<typeof parseClusterId>> = (value, name) =>
  parseClusterId(text(value, name));
const backupId: Reader<ReturnType<typeof parseBackupId>> = (value, name) =>
  parseBackupId(text(value, name));
const epoch = whole(1, MAX_EPOCH);
const type = oneOf('hsm1.medium', 'hsm2m.medium');
const mode = oneOf('FIPS', 'NON_FIPS');
const signature = textUpTo(MAX_BOX_CHARACTERS);

const BECOME = {
  clusterId,
  isClone: flagParam,
  afterGeneration: optional(whole(0, MAX_GENERATION)),
} as const;
const become: Reader<{
  readonly clusterId: ReturnType<typeof parseClusterId>;
  readonly isClone: boolean;
  readonly afterGeneration: number | undefined;
}> = (value, name) => parseParams(name, BECOME, object(value, name));

const CLAIMS = {
  backupId,
  storedBodySha256: text,
  storedBytes: whole(0, Number.MAX_SAFE_INTEGER),
  region: text,
  profile: optional(textUpTo(MAX_PROFILE_CHARACTERS)),
} as const;
const claims: Reader<ReturnType<typeof readClaims>> = (value, name) =>
  readClaims(object(value, name));
const readClaims = (value: Parameters<typeof parseParams>[2]) => {
  const { profile, ...claims } = parseParams('claims', CLAIMS, value);
  return profile === undefined ? claims : { ...claims, profile };
};

const SEAL = {
  statement: object,
  signature,
  manufacturerHardwareCertificate: pem,
  ownerHardwareCertificate: pem,
} as const;
const seal: Reader<ReturnType<typeof readSeal>> = (value, name) => readSeal(object(value, name));
const readSeal = (value: Parameters<typeof parseParams>[2]) => parseParams('seal', SEAL, value);

export const SHAPES = {
  'power-on': { storageKey: orNull(box), isDrill: flagParam },
  hello: {},
  'device-request': { serial: text, vendor: text, line: text },
  manufacture: {
    makerRoot: pem,
    manufacturerHardwareCertificate: pem,
    mkbkEpoch: epoch,
    mkbk: box,
  },
  enrol: {
    owner: text,
    ownerRoot: pem,
    ownerHardwareCertificate: pem,
    akbkEpoch: epoch,
    akbk: box,
    signature,
  },
  certify: { clusterId, type, mode },
  install: { clusterCertificate: pem, trustAnchor: pem },
  seal: { backupId },
  open: { sealRecord: textUpTo(MAX_SEAL_RECORD_CHARACTERS), as: become, type, mode },
  exercise: {},
  prove: { claims, seal },
  keep: {},
  plan: {},
  digest: {},
  'keys-newer-than': { generation: whole(0, Number.MAX_SAFE_INTEGER) },
  limit: { frozenBecause: orNull(textUpTo(MAX_SENTENCE_CHARACTERS)) },
  zeroise: { isFinal: flagParam, holding: optional(text) },
} as const satisfies Record<HsmCall, Parameters<typeof parseParams>[1]>;
