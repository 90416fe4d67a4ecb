/**
 * Puts objects into a vault, removes every fifth again, holds others, lifts every second of those holds, and
 * acknowledges each step: `write-vault.ts FOLDER COUNT`.
 */
import { writeSync } from 'node:fs';
import { FolderVault } from '../../../src/vault/folder.ts';
import { objectName } from '../../../src/vault/names.ts';
import { HELD_UNTIL, vaultSample } from '../vault-sample.ts';

const [folder = '', count = '0'] = process.argv.slice(2);

const vault = new FolderVault({ folder });
for (let n = 0; n < Number(count); n += 1) {
  for (const part of ['body', 'seal-1']) {
    const name = objectName(`backup-${n}`, part);
    await vault.put(name, vaultSample(name));
    writeSync(1, `ACK put ${name}\n`);
    if (n % 5 === 0) {
      writeSync(1, `ACK removing ${name}\n`);
      await vault.remove(name);
      writeSync(1, `ACK removed ${name}\n`);
    } else if (n % 5 < 3) {
      await vault.hold(name, 'legal');
      await vault.hold(name, { until: HELD_UNTIL });
      writeSync(1, `ACK held ${name}\n`);
      if (n % 5 === 2) {
        writeSync(1, `ACK lifting ${name}\n`);
        await vault.lift(name);
        writeSync(1, `ACK lifted ${name}\n`);
      }
    }
  }
}
