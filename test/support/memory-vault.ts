/** A vault that forgets: the smallest thing that keeps the laws, so that the laws themselves are tested. */
import { createHash } from 'node:crypto';
import { Failed, Refused } from '../../src/kernel/errors.ts';
import type { EpochMs } from '../../src/kernel/types.ts';
import type { ObjectName, Stored, Vault } from '../../src/vault/vault.ts';

export class MemoryVault implements Vault {
  readonly kind = 'memory';
  readonly objects = new Map<ObjectName, { bytes: Uint8Array; stored: Stored }>();

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
    this.objects.delete(name);
  }

  async recover(): Promise<{ removed: number }> {
    return { removed: 0 };
  }
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
