import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Catalog } from '../../src/catalog/catalog.ts';
import { openCatalog } from '../../src/catalog/sqlite.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '../../src/kernel/clock.ts';
import { ClockWatch } from '../../src/ops/clock-watch.ts';
import type { ServiceEvent } from '../../src/ops/events.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { tempFolder } from '../support/temp-folder.ts';

class Stand {
  readonly clock = new FakeClock();
  readonly events: ServiceEvent[] = [];
  readonly #catalog: Catalog;
  aheadMs = 0;
  watch: ClockWatch;

  constructor(catalog: Catalog) {
    this.#catalog = catalog;
    this.watch = this.restart();
  }

  restart(): ClockWatch {
    this.watch = new ClockWatch({
      catalog: this.#catalog,
      machine: this.clock,
      uptime: this.clock.uptime,
      aheadMs: () => this.aheadMs,
      events: { emit: (event) => void this.events.push(event) },
    });
    return this.watch;
  }

  /** A look each second, as the service does. */
  run(ms: number): void {
    this.clock.advance(ms);
    this.watch.trustedNow();
  }

  get isTrusted(): boolean {
    return this.watch.trustedNow() !== undefined;
  }
}

async function withStand(work: (stand: Stand) => void): Promise<void> {
  await using folder = await tempFolder();
  using catalog = openCatalog({ folder: folder.path });
  work(new Stand(catalog));
}

test('time that passes is trusted, for months and over restarts of the service', () =>
  withStand((stand) => {
    for (let day = 0; day < 100; day += 1) {
      stand.run(DAY_MS);
      stand.restart();
      assert.equal(stand.watch.trustedNow(), stand.clock.now());
    }
    assert.deepEqual(stand.events, []);
  }));

for (const [what, ms] of [
  ['forward', 2 * HOUR_MS],
  ['back', -2 * HOUR_MS],
  ['forward by years', 3 * 365 * DAY_MS],
] as const) {
  test(`a step ${what} stops what cannot be undone, over restarts, until it is confirmed`, () =>
    withStand((stand) => {
      stand.run(SECOND_MS);
      stand.clock.step(ms);
      assert.equal(stand.isTrusted, false);
      assert.deepEqual(
        stand.events.map(({ kind }) => kind),
        ['clockStepped'],
      );
      assert.equal(stand.watch.step()?.byMs, ms);
      stand.run(DAY_MS);
      stand.restart();
      assert.equal(stand.isTrusted, false);
      // Setting it right again is no confirmation: nobody has said which of the two was right.
      stand.clock.step(-ms);
      assert.equal(stand.isTrusted, false);
      assert.equal(stand.watch.confirm('somebody')?.byMs, ms);
      assert.equal(stand.isTrusted, true);
      assert.equal(stand.watch.step(), undefined);
      stand.restart();
      assert.equal(stand.isTrusted, true);
    }));
}

test('a step of up to an hour is none, but several add up', () =>
  withStand((stand) => {
    stand.clock.step(HOUR_MS);
    assert.equal(stand.isTrusted, true);
    stand.run(DAY_MS);
    stand.clock.step(MINUTE_MS);
    assert.equal(stand.isTrusted, false);
  }));

test('a step while the service was down and the machine ran is seen', () =>
  withStand((stand) => {
    stand.run(DAY_MS);
    stand.clock.advance(3 * DAY_MS);
    stand.restart();
    assert.equal(stand.isTrusted, true);
    stand.clock.step(8 * DAY_MS);
    stand.restart();
    assert.equal(stand.isTrusted, false);
  }));

test('a machine that was off for a day is trusted once it has run for ten minutes', () =>
  withStand((stand) => {
    stand.run(DAY_MS);
    stand.clock.reboot(DAY_MS);
    stand.restart();
    assert.equal(stand.isTrusted, false);
    assert.equal(stand.watch.step(), undefined);
    stand.run(10 * MINUTE_MS);
    assert.equal(stand.isTrusted, true);
    assert.deepEqual(stand.events, []);
  }));

test('a time server that corrects a wrong start is seen before anything went', () =>
  withStand((stand) => {
    stand.run(DAY_MS);
    stand.clock.reboot(5 * DAY_MS);
    stand.restart();
    assert.equal(stand.isTrusted, false);
    stand.clock.step(-5 * DAY_MS);
    stand.run(10 * MINUTE_MS);
    assert.equal(stand.isTrusted, false);
    assert.equal(stand.watch.step()?.byMs, -5 * DAY_MS);
  }));

for (const [what, ms] of [
  ['before it was switched off', -2 * HOUR_MS],
  ['more than seven days later', 7 * DAY_MS + HOUR_MS],
] as const) {
  test(`a machine that starts ${what} is asked about`, () =>
    withStand((stand) => {
      stand.run(HOUR_MS);
      stand.clock.reboot(ms);
      stand.restart();
      stand.run(HOUR_MS);
      assert.equal(stand.isTrusted, false);
      assert.equal(stand.watch.step()?.how, 'while the machine was off');
    }));
}

test('a rehearsal that is moved is no step, and the time that counts is the moved one', () =>
  withStand((stand) => {
    stand.run(SECOND_MS);
    stand.aheadMs = 30 * DAY_MS;
    assert.equal(stand.watch.trustedNow(), stand.clock.now() + 30 * DAY_MS);
    assert.deepEqual(stand.events, []);
  }));

test('confirming a clock that is trusted changes nothing', () =>
  withStand((stand) => {
    assert.equal(stand.watch.confirm('somebody'), undefined);
    assert.deepEqual(stand.events, []);
  }));
