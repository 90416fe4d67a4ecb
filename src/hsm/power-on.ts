/**
 * What power-on makes of the storage key and the disk: the store, and the officers and their door over it.
 *
 * It must never leave a plain copy of the storage key behind.
 */
import { createSecretKey, type KeyObject } from 'node:crypto';
import { openBox, type SealedBox } from '../crypto/box.ts';
import type { PasswordHasher } from '../crypto/password.ts';
import type { Clock } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import type { Random } from '../kernel/random.ts';
import type { HsmDisk } from './disk.ts';
import { OfficersDoor } from './doors.ts';
import { DurableStore } from './durable-store.ts';
import { Officers } from './officers.ts';
import type { Hello, HsmEvents, Lifecycle } from './protocol.ts';

const STORAGE_KEY_BYTES = 32;

/** What exists once power-on has loaded the disk. */
export interface Loaded {
  readonly store: DurableStore;
  readonly officers: Officers;
  readonly door: OfficersDoor;
}

export interface LoadNeeds {
  readonly disk: HsmDisk;
  readonly storageKey: KeyObject;
  readonly clock: Clock;
  readonly random: Random;
  readonly hasher: PasswordHasher;
  readonly emit: <Name extends keyof HsmEvents>(name: Name, params: HsmEvents[Name]) => void;
  readonly hello: () => Hello;
  readonly lifecycle: () => Lifecycle;
  readonly frozenBecause: () => string | null;
  /** The disk failed after it was loaded. */
  readonly onFailed: (cause: Error) => void;
}

/**
 * Opens the storage key that the host boxed for this boot; a drill has none and gets one for its memory.
 * @throws Refused `InvalidRequest` for a key of another length; CryptoError `BOX`.
 */
export function openStorageKey(
  box: SealedBox | null,
  bootKey: KeyObject,
  random: Random,
): KeyObject {
  const key = box === null ? random.bytes(STORAGE_KEY_BYTES) : openBox(bootKey, box, 'storage-key');
  if (key.length !== STORAGE_KEY_BYTES) {
    throw new Refused('InvalidRequest', `A storage key has ${STORAGE_KEY_BYTES} bytes.`);
  }
  const storageKey = createSecretKey(key);
  key.fill(0);
  return storageKey;
}

/** @throws Failed when the disk can't be read. */
export async function loadParts(needs: LoadNeeds): Promise<Loaded> {
  const { disk, storageKey, clock, random, hasher, emit, hello, onFailed } = needs;
  const store = await DurableStore.open({
    disk,
    storageKey,
    random,
    onChanged: (generation) => emit('changed', { generation }),
    onFailed,
  });
  const officers = new Officers({
    store,
    hasher,
    clock,
    random,
    hello,
    lifecycle: {
      current: needs.lifecycle,
      activated: async () => emit('activated', { generation: store.shared.generation }),
    },
    frozenBecause: needs.frozenBecause,
  });
  const certificates = () => hello().certificates;
  const door = new OfficersDoor({ store, officers, clock, certificates });
  return { store, officers, door };
}
