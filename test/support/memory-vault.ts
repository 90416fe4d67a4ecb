/** A vault that forgets: the smallest thing that keeps the laws, so that the laws themselves are tested. */
import { createHash } from 'node:crypto';
import { type Clock, systemClock } from '../../src/kernel/clock.ts';
import { Failed, Refused } from '../../src/kernel/errors.ts';
import type { EpochMs } from '../../src/kernel/types.ts';
import type { ObjectName, Stored, Vault, VaultHold } from '../../src/vault/vault.ts';

export class MemoryVault implements Vault {
  readonly kind = 'memory';
  readonly holdsBind = 'service';
  readonly objects = new Map<ObjectName, { bytes: Uint8Array; stored: Stored }>();
  readonly holds = new Map<ObjectName, VaultHold>();
  readonly #clock: Clock;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  async put(name: ObjectName, body: AsyncIterable<Uint8Array>): Promise<Stored> {
    const bytes = new Uint8Array(Buffer.concat(await Array.fromAsync(body)));
    if (this.objects.has(name)) throw new Refused('Conflict', `${name} is stored already`);
    const stored = {
      name,
      sizeBytes: bytes.length,
      sha256: sha256(bytes),
      // Any number is a time.
      storedAt: 0 as EpochMs,
    };
    this.objects.set(name, { bytes, stored });
    return stored;
  }

  async *get(name: ObjectName): AsyncIterable<Uint8Array> {
    const object = this.objects.get(name);
    if (object === undefined) throw new Failed('VAULT_LOST', `${name} is not here`);
    yield object.bytes.slice();
    if (sha256(object.bytes) !== object.stored.sha256) throw new Failed('VAULT_READ', 'damaged');
  }

  async stat(name: ObjectName): Promise<Stored | undefined> {
    return this.objects.get(name)?.stored;
  }

  async *list(prefix: string): AsyncIterable<Stored> {
    for (const name of [...this.objects.keys()].sort()) {
      const stored = this.objects.get(name)?.stored;
      if (stored !== undefined && (prefix === '' || name.startsWith(`${prefix}/`))) yield stored;
    }
  }

  async remove(name: ObjectName): Promise<void> {
    if ((await this.heldBy(name)) !== undefined) throw new Refused('WrongState', `[HELD] ${name}`);
    this.objects.delete(name);
    this.holds.delete(name);
  }

  async hold(name: ObjectName, terms: { readonly until: EpochMs } | 'legal'): Promise<void> {
    if (!this.objects.has(name)) throw new Failed('VAULT_LOST', `${name} is not here`);
    const { until = 0, isLegal = false } = this.holds.get(name) ?? {};
    this.holds.set(
      name,
      terms === 'legal'
        ? { ...this.holds.get(name), isLegal: true }
        : // The later of two times is a time.
          { isLegal, until: Math.max(until, terms.until) as EpochMs },
    );
  }

  async lift(name: ObjectName): Promise<void> {
    const hold = this.holds.get(name);
    if (hold !== undefined) this.holds.set(name, { ...hold, isLegal: false });
  }

  async heldBy(name: ObjectName): Promise<VaultHold | undefined> {
    const { until, isLegal = false } = this.holds.get(name) ?? {};
    const isDated = until !== undefined && until > this.#clock.now();
    if (!isLegal && !isDated) return undefined;
    return { isLegal, ...(isDated ? { until } : {}) };
  }

  async recover(): Promise<{ removed: number }> {
    return { removed: 0 };
  }
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
