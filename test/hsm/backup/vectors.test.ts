import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { stateDigest } from '../../../src/hsm/backup/digest.ts';
import { openArchive } from '../../../src/hsm/backup/open.ts';
import { fromBase64, fromHex, toBase64 } from '../../../src/kernel/bytes.ts';
import { Refused } from '../../../src/kernel/errors.ts';
import { parseBackupId } from '../../../src/kernel/ids.ts';
import { inChunks, seal, withMaps } from './sample.ts';
import { readVectors, rootsOf, stateFromJson, VECTORS, type Vector } from './vector.ts';

const vectors = readVectors();

function openVector({ body, sealRecord, roots, target }: Vector) {
  return openArchive({
    sealRecord: fromBase64(sealRecord),
    body: inChunks(fromBase64(body), 1_000),
    roots: rootsOf(roots),
    expect: target,
  });
}

for (const { name, vector } of vectors) {
  if (vector.verdict === 'opens') {
    test(`vector ${name} opens: ${vector.about}`, async () => {
      const { shared, local, ...facts } = await openVector(vector);
      assert.deepEqual(withMaps({ shared, local }), stateFromJson(vector.state));
      assert.equal(await stateDigest(shared), vector.stateDigest);
      assert.equal(facts.backupId, vector.backupId);
      assert.equal(facts.headerSha256, vector.headerSha256);
      assert.equal(facts.bodySha256, vector.bodySha256);
    });

    test(`vector ${name} is sealed to the same bytes by the same luck`, async () => {
      const sealed = await seal(stateFromJson(vector.state), {
        roots: rootsOf(vector.roots),
        random: { bytes: () => fromHex(vector.ebk) },
        backupId: parseBackupId(vector.backupId),
      });
      assert.equal(toBase64(sealed.body), vector.body);
      assert.equal(toBase64(sealed.sealRecord), vector.sealRecord);
    });
  } else {
    test(`vector ${name} is refused (${vector.verdict}): ${vector.about}`, async () => {
      await assert.rejects(openVector(vector), (error) => {
        assert.ok(error instanceof Refused, `${error}`);
        assert.equal(error.code, vector.verdict);
        return true;
      });
    });
  }
}

test('there are vectors of both verdicts', () => {
  const good = vectors.filter(({ vector }) => vector.verdict === 'opens').length;
  assert.ok(good >= 6 && vectors.length - good >= 50, `${good} good of ${vectors.length}`);
});

const hasPython = spawnSync('python3', ['-c', 'import cryptography']).status === 0;

test('a second reader, written from the format page alone, comes to the same verdicts', {
  skip: hasPython ? false : 'python3 with the package "cryptography" is missing',
}, () => {
  const reader = fileURLToPath(new URL('../../support/open_backup.py', import.meta.url));
  const files = vectors.map(({ name }) => fileURLToPath(new URL(`${name}.json`, VECTORS)));
  const { status, stdout, stderr } = spawnSync('python3', [reader, ...files], {
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
  const lines = stdout.trim().split('\n');
  const expected = vectors.map(({ name, vector }) =>
    vector.verdict === 'opens'
      ? `${name} opens ${vector.stateDigest}`
      : `${name} ${vector.verdict}`,
  );
  assert.deepEqual(lines, expected);
});
