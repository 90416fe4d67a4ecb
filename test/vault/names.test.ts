import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { objectName, parseObjectName, splitObjectName } from '../../src/vault/names.ts';

it('objectName() takes two plain segments', () => {
  assert.equal(objectName('backup-1', 'seal-1'), 'backup-1/seal-1');
  assert.deepEqual(splitObjectName(objectName('..a', '.b')), { folder: '..a', part: '.b' });
});

it('parseObjectName() refuses whatever could leave the vault or hide in it', () => {
  const bad = ['', 'a', '/', 'a/', '/a', 'a/b/c', '../a', 'a/..', './a', 'a/.', '.../a', 'a/b\0'];
  for (const text of [...bad, 'a\\b/c', 'a b/c', 'é/a', `${'a'.repeat(101)}/b`, 'a/b\n']) {
    assert.throws(() => parseObjectName(text), { code: 'InvalidRequest' }, JSON.stringify(text));
  }
});

it('parseObjectName() never accepts a text that resolves elsewhere', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[./a]{0,8}$/), (text) => {
      let name: string;
      try {
        name = parseObjectName(text);
      } catch {
        return;
      }
      assert.equal(new URL(name, 'file:///vault/').pathname, `/vault/${name}`);
    }),
  );
});
