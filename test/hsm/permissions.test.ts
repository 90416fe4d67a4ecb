import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Officer } from '../../src/cli/officer.ts';
import {
  type Caller,
  checkPermitted,
  type OfficerCall,
  PERMISSIONS,
} from '../../src/hsm/permissions.ts';
import type { Role } from '../../src/hsm/protocol.ts';
import { Refused } from '../../src/kernel/errors.ts';
import { OfficersRig } from '../support/officers-rig.ts';

// Keys of a table whose keys are OfficerCall by definition.
const CALLS = Object.keys(PERMISSIONS) as OfficerCall[];
const USES_KEYS =
  /^(sign|verify|encrypt|decrypt|key-(generate|import|delete|share|unshare)|object-)/;

async function codeOf(officer: Officer, call: string): Promise<string> {
  try {
    await officer.call(call, { 'no-such-parameter': 1 });
    return 'answered';
  } catch (cause) {
    assert.ok(cause instanceof Refused, `${call}: ${String(cause)}`);
    return cause.code;
  }
}

test('every call asks the table of rights before it reads a parameter, for every role', async () => {
  await using rig = await OfficersRig.make();
  const admin = await rig.activated();
  const sessions: [Caller, Officer][] = [
    ['nobody', await rig.connect()],
    ['admin', admin],
    ['crypto-user', await rig.cryptoUser(admin, 'alice')],
  ];
  for (const [caller, officer] of sessions) {
    for (const call of CALLS) {
      const expected = PERMISSIONS[call][caller] ? 'InvalidRequest' : 'AccessDenied';
      assert.equal(await codeOf(officer, call), expected, `${caller} × ${call}`);
    }
  }
});

test('the appliance user and the unactivated admin may do nothing at the door', () => {
  for (const role of ['appliance-user', 'unactivated-admin'] satisfies Role[]) {
    for (const call of CALLS) {
      assert.throws(
        () => checkPermitted(call, { name: 'x', role }),
        { code: 'AccessDenied' },
        call,
      );
    }
  }
});

test('an admin uses no key and a crypto user manages nobody', () => {
  for (const call of CALLS) {
    if (USES_KEYS.test(call)) assert.equal(PERMISSIONS[call].admin, false, call);
    if (/^(user-(create|delete)|policy-set|audit|compare)$/.test(call)) {
      assert.equal(PERMISSIONS[call]['crypto-user'], false, call);
    }
    if (USES_KEYS.test(call)) assert.equal(PERMISSIONS[call].nobody, false, call);
  }
});
