import assert from 'node:assert/strict';
import test from 'node:test';
import { judge, tooOld } from '../../src/cli/aws-tool.ts';

for (const [version, obeys] of [
  ['2.9.19', false],
  ['2.12.7', false],
  ['2.13.0', true],
  ['2.31.1', true],
  ['1.27.9', false],
  ['1.29.0', true],
  ['1.45.11', true],
] as const) {
  test(`aws ${version} ${obeys ? 'obeys' : 'ignores'} the endpoint variables`, () => {
    assert.equal(judge(version).obeysEndpointVariables, obeys);
  });
}

test('tooOld() says what would have happened and three ways out', () => {
  const text = tooOld(judge('2.9.19'), new URL('http://127.0.0.1:8228'));
  assert.match(
    text,
    /^\[OLD_AWS_CLIENT\] aws 2\.9\.19 .*Amazon.*keyark aws.*--endpoint-url http:\/\/127\.0\.0\.1:8228,.*2\.13/,
  );
});
