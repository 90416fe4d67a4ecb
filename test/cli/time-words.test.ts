import assert from 'node:assert/strict';
import test from 'node:test';
import { parseDate, parseDuration } from '../../src/cli/time-words.ts';
import { DAY_MS, HOUR_MS, isoTime, MINUTE_MS } from '../../src/kernel/clock.ts';

test('durations are read as people write them', () => {
  assert.equal(parseDuration('90m'), 90 * MINUTE_MS);
  assert.equal(parseDuration('8d'), 8 * DAY_MS);
  assert.equal(parseDuration('1w'), 7 * DAY_MS);
  assert.equal(parseDuration('1d12h'), DAY_MS + 12 * HOUR_MS);
});

test('what is no duration is refused', () => {
  for (const text of ['', '8', 'd', '-8d', '8 d', '8y', '1.5d', '8dd', '9999999d']) {
    assert.throws(() => parseDuration(text), { name: 'CommandFailed' }, text);
  }
});

test('a day is meant to its end, a time to the second, both in UTC', () => {
  assert.equal(isoTime(parseDate('2027-01-31')), '2027-02-01T00:00:00Z');
  assert.equal(isoTime(parseDate('2028-02-29')), '2028-03-01T00:00:00Z');
  assert.equal(isoTime(parseDate('2027-01-31T12:30:00Z')), '2027-01-31T12:30:00Z');
});

test('days that no calendar has and other ways to write one are refused', () => {
  const wrong = ['2027-02-30', '2027-13-01', '31.1.2027', '2027-1-31', 'soon', '2027-01-31T12:30'];
  for (const text of wrong) assert.throws(() => parseDate(text), { name: 'CommandFailed' }, text);
});
