/**
 * One process that was started before anybody asked for an HSM: most of the wait for a new one is Node's own
 * start. It waits before power-on and holds nothing: no storage key, no identity, no state. Its disk lies
 * beside the HSMs' until it becomes one.
 *
 * There is at most one, it is started when nothing else was for a while, and nobody waits for it: without one an HSM
 * starts as ever.
 */
import type { Clock } from '../kernel/clock.ts';
import type { HsmCode } from './code.ts';
import type { Inventory, SpareDisk } from './inventory.ts';
import { type BootingHsm, bootHsm } from './spawn.ts';

/** Starts come in groups (an HSM, then the drill of its backup); a spare must not compete with them. */
const QUIET_MS = 1_000;

export interface SpareHsm {
  readonly disk: SpareDisk;
  readonly booting: BootingHsm;
}

export interface SpareParts {
  readonly inventory: Inventory;
  readonly code: HsmCode;
  readonly clock: Clock;
  /** One line for the log. */
  readonly say: (line: string) => void;
}

export class Spare {
  readonly #parts: SpareParts;
  #waiting: SpareHsm | undefined;
  #starting: BootingHsm | undefined;
  #quiet = new AbortController();
  #making: Promise<void> | undefined;
  #isEnding = false;

  constructor(parts: SpareParts) {
    this.#parts = parts;
  }

  /** Something was started: the next spare comes once it is quiet. */
  later(): void {
    this.#quiet.abort();
    if (this.#isEnding) return;
    this.#quiet = new AbortController();
    this.#parts.clock.sleep(QUIET_MS, this.#quiet.signal).then(
      () => {
        this.#making ??= this.#make().finally(() => {
          this.#making = undefined;
        });
      },
      // Not quiet yet, or never again.
      () => {},
    );
  }

  /** The one that waits, if there is one; it is the caller's from now on. */
  take(): SpareHsm | undefined {
    const taken = this.#waiting;
    this.#waiting = undefined;
    return taken;
  }

  async end(): Promise<void> {
    this.#isEnding = true;
    this.#quiet.abort();
    await this.#starting?.kill();
    await this.#making;
    await this.take()?.booting.kill();
  }

  /** Never rejects. */
  async #make(): Promise<void> {
    if (this.#waiting !== undefined) return;
    const { inventory, code, say } = this.#parts;
    try {
      const disk = await inventory.addSpare();
      if (this.#isEnding) return;
      const spare: SpareHsm = { disk, booting: bootHsm({ code, disk }) };
      await this.#untilBooted(spare.booting);
      this.#waiting = spare;
      // One that dies unused is not replaced before something is started again: it could die again at once.
      void spare.booting.exited.then(() => {
        if (this.#waiting === spare) this.#waiting = undefined;
      });
    } catch (cause) {
      if (this.#isEnding) return;
      say(`no spare HSM: ${cause instanceof Error ? cause.message : String(cause)}`);
    }
  }

  /** It may not be taken before: a folder that moves while its files are not open yet is lost to the process. */
  async #untilBooted(booting: BootingHsm): Promise<void> {
    this.#starting = booting;
    try {
      await booting.booted();
    } catch (cause) {
      await booting.kill();
      throw cause;
    } finally {
      this.#starting = undefined;
    }
  }
}
