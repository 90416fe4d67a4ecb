/**
 * Everything an HSM holds, listed so that two HSMs can be compared line by line: users, policies, objects
 * and tombstones, without one secret value. Where a secret would stand is its fingerprint under a key that
 * only HSMs with the same masking key have: equal states give equal lines, and a line gives nothing away.
 *
 * What differs between clones by design (cluster id, incarnation, generation) is not in the lines.
 */
import { createHmac } from 'node:crypto';
import { deriveKey, lengthPrefixed } from '../crypto/kdf.ts';
import { concat, fromUtf8, toHex, u32 } from '../kernel/bytes.ts';
import type { JsonObject } from '../kernel/types.ts';
import { isSecret, numberOf, renderAttributes } from './attributes.ts';
import { CKA, CKO } from './constants.ts';
import { referenceOf } from './objects.ts';
import { listPolicies } from './policies.ts';
import type { Attributes, AttributeValue, SharedState } from './state.ts';

const LINES_PER_CHUNK = 64;

/** JSON lines, in an order that only the state decides. */
export async function* compareListing(shared: SharedState): AsyncGenerator<Uint8Array> {
  // Records are immutable: copies of the maps are a frozen view, however long the reader takes.
  const view = {
    users: sorted([...shared.users.values()], (user) => user.name),
    objects: sorted([...shared.objects.values()], (object) => object.id),
    tombstones: sorted([...shared.tombstones.values()], (tombstone) => tombstone.id),
  };
  const fingerprint = fingerprinter(shared);
  const { type, mode, clusterCertificate, trustAnchor } = shared.partition;
  const head: JsonObject[] = [
    { kind: 'partition', type, mode, clusterCertificate, trustAnchor },
    ...listPolicies(shared).map(({ name, value }) => ({ kind: 'policy', name, value })),
    ...view.users.map((user) => ({
      kind: 'user',
      name: user.name,
      role: user.role,
      createdGeneration: user.createdGeneration,
      passwordGeneration: user.passwordGeneration,
      verifier:
        user.verifier === null
          ? null
          : fingerprint(user.name, [
              u32(user.verifier.memoryKiB),
              u32(user.verifier.passes),
              user.verifier.salt,
              user.verifier.hash,
            ]),
    })),
  ];
  yield encodeLines(head);
  for (let at = 0; at < view.objects.length; at += LINES_PER_CHUNK) {
    yield encodeLines(
      view.objects.slice(at, at + LINES_PER_CHUNK).map((object) => ({
        kind: 'object',
        id: object.id,
        key: referenceOf(object),
        owner: object.owner,
        sharedWith: [...object.sharedWith],
        createdGeneration: object.createdGeneration,
        attributes: hidesValue(object.attributes) ? {} : renderAttributes(object.attributes),
        secrets: secretsOf(object.id, object.attributes, fingerprint),
      })),
    );
  }
  for (let at = 0; at < view.tombstones.length; at += LINES_PER_CHUNK) {
    yield encodeLines(
      view.tombstones
        .slice(at, at + LINES_PER_CHUNK)
        .map(({ id, generation }) => ({ kind: 'tombstone', id, generation })),
    );
  }
}

/** What a data object holds is its owner's business, not the admin's who compares. */
const hidesValue = (attributes: Attributes): boolean =>
  numberOf(attributes, CKA.CLASS) === CKO.DATA;

type Fingerprint = (id: string, parts: readonly Uint8Array[]) => string;

function fingerprinter(shared: SharedState): Fingerprint {
  const key = deriveKey({
    key: shared.partition.maskingKey,
    label: fromUtf8('keyark compare v1'),
    context: new Uint8Array(0),
    lengthBytes: 32,
  });
  return (id, parts) =>
    toHex(
      createHmac('sha256', key)
        .update(lengthPrefixed(fromUtf8(id), ...parts))
        .digest(),
    );
}

function secretsOf(id: string, attributes: Attributes, fingerprint: Fingerprint): JsonObject {
  const all = hidesValue(attributes);
  return Object.fromEntries(
    [...attributes]
      .filter(([type]) => all || isSecret(attributes, type))
      .sort(([a], [b]) => a - b)
      .map(([type, value]) => [
        `0x${type.toString(16)}`,
        fingerprint(id, [u32(type), encodeValue(value)]),
      ]),
  );
}

function encodeValue(value: AttributeValue): Uint8Array {
  const content = value.type === 'bytes' ? value.value : fromUtf8(JSON.stringify(value.value));
  return concat(fromUtf8(`${value.type}:`), content);
}

function encodeLines(lines: readonly JsonObject[]): Uint8Array {
  return fromUtf8(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
}

function sorted<T>(items: T[], key: (item: T) => string): T[] {
  return items.sort((a, b) => (key(a) < key(b) ? -1 : 1));
}
