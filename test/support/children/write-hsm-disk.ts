/**
 * Commits policies to an HSM's disk, several at once now and then, with a new snapshot every eleventh
 * time, and acknowledges each: `write-hsm-disk.ts FOLDER COUNT`.
 */
import { createSecretKey } from 'node:crypto';
import { closeSync, fsyncSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { DISK_FILES, openFolder } from '../../../src/hsm/disk.ts';
import { DurableStore } from '../../../src/hsm/durable-store.ts';
import { fromUtf8 } from '../../../src/kernel/bytes.ts';
import { systemRandom } from '../../../src/kernel/random.ts';

const [folder = '', count = '0'] = process.argv.slice(2);

// As the host makes them: durably, before the HSM starts.
for (const file of DISK_FILES) writeFileSync(join(folder, file), '', { flush: true });
const handle = openSync(folder, 'r');
fsyncSync(handle);
closeSync(handle);
writeSync(1, 'ACK made\n');

const store = await DurableStore.open({
  disk: openFolder(folder),
  storageKey: createSecretKey(new Uint8Array(32).fill(7)),
  random: systemRandom,
  onChanged: () => {},
  onFailed: (cause) => {
    throw cause;
  },
});
const partition = {
  clusterId: 'cluster-keyark2345abc',
  incarnation: '11'.repeat(16),
  type: 'hsm2m.medium',
  mode: 'FIPS',
  partitionKey: fromUtf8('x'.repeat(2_000)),
  clusterCsr: 'csr',
  hsmCertificate: 'pem',
  clusterCertificate: null,
  trustAnchor: null,
  maskingKey: new Uint8Array(32).fill(9),
} as const;
await store.commit([{ kind: 'put-partition', partition }]);

const put = async (value: number): Promise<void> => {
  await store.commit([{ kind: 'put-policy', policy: { name: `policy-${value}`, value } }]);
  writeSync(1, `ACK ${value}\n`);
};
for (let n = 0; n < Number(count); n += 3) {
  await put(n);
  await Promise.all([put(n + 1), put(n + 2)]);
  if (n % 11 === 0) await store.saveDevice(store.device);
}
await store.close();
