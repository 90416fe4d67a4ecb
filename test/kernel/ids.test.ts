import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Refused } from '../../src/kernel/errors.ts';
import { newBackupId, newClusterId, newHsmId, parseBackupId } from '../../src/kernel/ids.ts';
import { systemRandom } from '../../src/kernel/random.ts';

test('ids fit the pattern of AWS and begin with keyark', () => {
  for (const id of [newClusterId, newHsmId, newBackupId].map((make) => make(systemRandom))) {
    assert.match(id, /^(cluster|hsm|backup)-keyark[a-z2-7]{10}$/);
  }
});

test('parseBackupId() refuses what is not a backup id, and says what one looks like', () => {
  for (const text of [
    '',
    'backup-',
    'backup-1111111111111',
    'cluster-abcdefghijk',
    `backup-${'a'.repeat(17)}`,
    'backup-abcdefghijk\n',
  ]) {
    assert.throws(
      () => parseBackupId(text),
      (cause: unknown) => cause instanceof Refused && /looks like/.test(cause.message),
      text,
    );
  }
});
