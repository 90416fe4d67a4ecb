import { vaultLaws } from '../laws/vault.ts';
import { MemoryVault } from '../support/memory-vault.ts';

vaultLaws('the memory vault', async (clock) => {
  const vault = new MemoryVault(clock);
  return {
    vault,
    clock,
    reopen: async () => vault,
    flipBit: async (name, at) => {
      const { bytes } = vault.objects.get(name)!;
      bytes[at % bytes.length]! ^= 1;
    },
    cutShort: async (name) => {
      const object = vault.objects.get(name)!;
      vault.objects.set(name, { ...object, bytes: object.bytes.subarray(0, -1) });
    },
    [Symbol.asyncDispose]: async () => {},
  };
});
