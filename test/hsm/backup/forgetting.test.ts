/**
 * A codec that forgets something must be caught by what a proof rests on: either the archive does not
 * open, or the opened state has another digest than the one that was sealed. The loops run over the
 * tables themselves, so that a new field is covered by being one.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stateDigest } from '../../../src/hsm/backup/digest.ts';
import type { Field } from '../../../src/hsm/backup/fields.ts';
import { type RecordName, SCHEMA, type Schema } from '../../../src/hsm/backup/records.ts';
import type { Attributes, AttributeValue } from '../../../src/hsm/state.ts';
import { open, sampleState, seal } from './sample.ts';

const state = sampleState();
const digest = await stateDigest(state.shared);

/** Kinds of the HSM's log that stand in no archive. */
const NOT_ARCHIVED: readonly RecordName[] = ['audit', 'removedUser', 'removedObject'];

/** How the loss of something shows, or `null` when a proof would pass. */
async function howNoticed(codecs: { sealing: Schema; opening: Schema }): Promise<string | null> {
  try {
    const sealed = await seal(state, { schema: codecs.sealing });
    const { shared } = await open(sealed, { schema: codecs.opening });
    return (await stateDigest(shared)) === digest ? null : 'the digest differs';
  } catch (error) {
    return `refused: ${error}`;
  }
}

function withFields(kind: RecordName, fields: readonly Field[]): Schema {
  return { ...SCHEMA, [kind]: { ...SCHEMA[kind], fields } };
}

test('the sample state passes when nothing is forgotten', async () => {
  assert.equal(await howNoticed({ sealing: SCHEMA, opening: SCHEMA }), null);
});

for (const [kind, { fields }] of Object.entries(SCHEMA)) {
  // Object.entries of a record over all RecordNames gives exactly those.
  const name = kind as RecordName;
  if (NOT_ARCHIVED.includes(name)) continue;
  for (const field of fields) {
    test(`a codec that forgets ${field.name} of ${kind} is caught`, async () => {
      const forgetful = withFields(
        name,
        fields.filter((other) => other !== field),
      );
      assert.ok(await howNoticed({ sealing: forgetful, opening: SCHEMA }), 'sealing forgets');
      assert.ok(await howNoticed({ sealing: SCHEMA, opening: forgetful }), 'opening forgets');
      assert.ok(await howNoticed({ sealing: forgetful, opening: forgetful }), 'both forget');
    });
  }
}

for (const sort of ['bool', 'ulong', 'bytes'] as const satisfies AttributeValue['type'][]) {
  test(`a codec that forgets attributes that are ${sort} is caught`, async () => {
    const [{ type: whole }] = SCHEMA.object.fields.filter(({ name }) => name === 'attributes') as [
      Field,
    ];
    // The field named attributes holds Attributes.
    const without = (value: unknown): Attributes =>
      new Map([...(value as Attributes)].filter(([, attribute]) => attribute.type !== sort));
    const type: Field['type'] = {
      size: (value, structures) => whole.size(without(value), structures),
      write: (value, into, structures) => whole.write(without(value), into, structures),
      read: (from, structures) => without(whole.read(from, structures)),
    };
    const forgetful = withFields(
      'object',
      SCHEMA.object.fields.map((field) =>
        field.name === 'attributes' ? { ...field, type } : field,
      ),
    );
    assert.ok(await howNoticed({ sealing: forgetful, opening: SCHEMA }), 'sealing forgets');
    assert.ok(await howNoticed({ sealing: SCHEMA, opening: forgetful }), 'opening forgets');
  });
}
