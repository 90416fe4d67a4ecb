/**
 * The state as it is in memory, and what one change does to it. Replaying the log and answering a
 * commit run the same lines, so that what a restart finds is what callers saw.
 */
import { unreachable } from '../kernel/errors.ts';
import { AuditRing } from './audit.ts';
import { gatherAttributes } from './gather.ts';
import { wipeAttributes } from './packed-attributes.ts';
import type {
  LocalState,
  ObjectRecord,
  Partition,
  PolicyRecord,
  SharedState,
  TombstoneRecord,
  UserRecord,
} from './state.ts';
import type { Change } from './store.ts';

/** PKCS#11 keeps 0 for "no object". */
const FIRST_HANDLE = 1;

export class Memory {
  readonly audit = new AuditRing();
  #partition: Partition | null = null;
  #generation = 0;
  #nextHandle = FIRST_HANDLE;
  #users = new Map<string, UserRecord>();
  #objects = new Map<string, ObjectRecord>();
  #tombstones = new Map<string, TombstoneRecord>();
  #policies = new Map<string, PolicyRecord>();
  #failures = new Map<string, number>();
  #shared: SharedState | null = null;

  get hasPartition(): boolean {
    return this.#partition !== null;
  }

  get generation(): number {
    return this.#generation;
  }

  /** A live view, made anew after each commit. Null without a partition. */
  get shared(): SharedState | null {
    return this.#shared;
  }

  get local(): LocalState {
    return { failures: this.#failures, auditSequence: this.audit.next };
  }

  /** All changes of one commit, in order. The generation grows once. */
  apply(changes: readonly Change[]): void {
    const generation = this.#generation + (changes.some(touchesShared) ? 1 : 0);
    for (const change of changes) this.#apply(change, generation);
    this.#generation = generation;
    this.#refresh();
  }

  /** Becomes what an archive or a snapshot holds; the audit ring stays. */
  load(shared: SharedState, failures: ReadonlyMap<string, number>): void {
    this.#partition = shared.partition;
    this.#generation = shared.generation;
    this.#nextHandle = shared.nextHandle;
    this.#users = new Map(shared.users);
    this.#objects = new Map(shared.objects);
    this.#tombstones = new Map(shared.tombstones);
    this.#policies = new Map(shared.policies);
    this.#failures = new Map(failures);
    this.#refresh();
  }

  /** Takes less room for the same; for when there is a pause anyway. */
  gather(): void {
    gatherAttributes(this.#objects.values());
  }

  /** Forgets partition and all in it, and overwrites the secrets in it as far as JavaScript lets us. */
  erase(): void {
    if (this.#partition !== null) wipePartition(this.#partition);
    for (const { attributes } of this.#objects.values()) wipeAttributes(attributes);
    this.#partition = null;
    this.#generation = 0;
    this.#nextHandle = FIRST_HANDLE;
    for (const map of [this.#users, this.#objects, this.#tombstones, this.#policies]) map.clear();
    this.#failures.clear();
    this.#refresh();
  }

  #apply(change: Change, generation: number): void {
    switch (change.kind) {
      case 'put-user':
        this.#users.set(change.user.name, change.user);
        return;
      case 'remove-user':
        this.#users.delete(change.name);
        this.#failures.delete(change.name);
        return;
      case 'put-object':
        this.#objects.set(change.object.id, change.object);
        this.#nextHandle = Math.max(this.#nextHandle, change.object.handle + 1);
        return;
      case 'remove-object':
        this.#objects.delete(change.id);
        this.#tombstones.set(change.id, { id: change.id, generation });
        return;
      case 'put-policy':
        this.#policies.set(change.policy.name, change.policy);
        return;
      case 'put-partition':
        this.#partition = change.partition;
        return;
      case 'set-failures':
        if (change.count === 0) this.#failures.delete(change.name);
        else this.#failures.set(change.name, change.count);
        return;
      case 'audit':
        this.audit.append(change.record);
        return;
      default:
        unreachable(change, 'a change of no known kind');
    }
  }

  #refresh(): void {
    this.#shared =
      this.#partition === null
        ? null
        : {
            partition: this.#partition,
            generation: this.#generation,
            nextHandle: this.#nextHandle,
            users: this.#users,
            objects: this.#objects,
            tombstones: this.#tombstones,
            policies: this.#policies,
          };
  }
}

export function touchesShared(change: Change): boolean {
  return change.kind !== 'audit' && change.kind !== 'set-failures';
}

/** A view that later commits don't reach: records are values, so the maps' own copies suffice. */
export function freeze(shared: SharedState): SharedState {
  return {
    ...shared,
    users: new Map(shared.users),
    objects: new Map(shared.objects),
    tombstones: new Map(shared.tombstones),
    policies: new Map(shared.policies),
  };
}

export function freezeLocal(local: LocalState): LocalState {
  return { ...local, failures: new Map(local.failures) };
}

function wipePartition(partition: Partition): void {
  partition.partitionKey.fill(0);
  partition.maskingKey.fill(0);
}
