import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  chooseAddress,
  eniIdOf,
  placeSubnets,
  securityGroupOf,
  subnetPrefix,
  vpcIdOf,
} from '../../src/clusters/network.ts';
import { Refused } from '../../src/kernel/errors.ts';

const unknown = () => undefined;

test('placeSubnets() gives every subnet a zone of its own, in the order they were named', () => {
  const placed = placeSubnets('us-east-1', ['subnet-0000000a', 'subnet-0000000b'], unknown);
  assert.deepEqual(
    [...placed],
    [
      ['us-east-1a', 'subnet-0000000a'],
      ['us-east-1b', 'subnet-0000000b'],
    ],
  );
});

test('placeSubnets() keeps a subnet in the zone it had before', () => {
  const known = (id: string) => (id === 'subnet-0000000b' ? 'us-east-1a' : undefined);
  const placed = placeSubnets('us-east-1', ['subnet-0000000a', 'subnet-0000000b'], known);
  assert.equal(placed.get('us-east-1a'), 'subnet-0000000b');
  assert.equal(placed.get('us-east-1b'), 'subnet-0000000a');
});

test('placeSubnets() refuses a subnet named twice, and two in one zone', () => {
  const twice = ['subnet-0000000a', 'subnet-0000000a'];
  assert.throws(() => placeSubnets('us-east-1', twice, unknown), Refused);
  assert.throws(
    () => placeSubnets('us-east-1', ['subnet-0a', 'subnet-0b'], () => 'us-east-1a'),
    Refused,
  );
});

test('chooseAddress() takes the lowest free address and never one that is taken', () => {
  const prefix = subnetPrefix('subnet-0000000a');
  const first = chooseAddress('subnet-0000000a', undefined, []);
  assert.equal(first, `${prefix}.10`);
  assert.equal(chooseAddress('subnet-0000000a', undefined, [{ eniIp: first }]), `${prefix}.11`);
  assert.throws(() => chooseAddress('subnet-0000000a', first, [{ eniIp: first }]), Refused);
});

test('chooseAddress() refuses an address outside the subnet, whatever it looks like', () => {
  fc.assert(
    fc.property(fc.ipV4(), (address) => {
      if (address.startsWith(`${subnetPrefix('subnet-0000000a')}.`)) return;
      assert.throws(() => chooseAddress('subnet-0000000a', address, []), Refused);
    }),
  );
});

test('network names have the form AWS clients check', () => {
  assert.match(vpcIdOf('000012345678', 'us-east-1'), /^vpc-[0-9a-f]{17}$/);
  assert.match(securityGroupOf('cluster-keyarkaaaaaaaaaa'), /^sg-[0-9a-f]{17}$/);
  assert.match(eniIdOf('hsm-keyarkaaaaaaaaaa'), /^eni-[0-9a-f]{17}$/);
});
