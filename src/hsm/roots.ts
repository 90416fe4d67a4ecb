/**
 * The device's half of every backup: the maker's MKBKs and the owner's AKBKs, by epoch, and the PBK
 * that only both together yield.
 *
 * They never leave the device in any form; `entries` is for its own sealed record alone.
 */
import { createSecretKey, type KeyObject } from 'node:crypto';
import { deriveKey, lengthPrefixed } from '../crypto/kdf.ts';
import { concat, equalBytes, fromUtf8, u32 } from '../kernel/bytes.ts';
import { assert, Refused } from '../kernel/errors.ts';
import type { Secret } from '../kernel/secret.ts';
import type { Epochs, RestoreDomain } from './protocol.ts';

export interface Mkbk {
  readonly vendor: string;
  readonly line: string;
  readonly epoch: number;
  readonly key: Secret;
}

export interface Akbk {
  readonly owner: string;
  readonly epoch: number;
  readonly key: Secret;
}

const ROOT_KEY_BYTES = 32;
const PBK_BYTES = 32;
const PBK_LABEL = 'keyark backup PBK v1';
const MAX_EPOCH = 0xffff_ffff;
const MAX_DOMAIN_TEXT_BYTES = 64;

/** 1 to 64 octets of UTF-8 without control characters: what a backup's clear header can carry. */
export function isDomainText(text: string): boolean {
  const { length } = fromUtf8(text);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what it looks for.
  const hasControls = /[\u0000-\u001f\u007f-\u009f]/.test(text);
  return length >= 1 && length <= MAX_DOMAIN_TEXT_BYTES && text.isWellFormed() && !hasControls;
}

/** Epochs only grow; one device serves one product line and one owner for ever. */
export class Roots implements Disposable {
  readonly #mkbks: Mkbk[] = [];
  readonly #akbks: Akbk[] = [];

  /**
   * Takes ownership of the key. A second time with the same epoch and key changes nothing.
   * @throws Refused `InvalidRequest`, `Conflict` for another line or an epoch that does not grow.
   */
  addMkbk(mkbk: Mkbk): void {
    const newest = this.#mkbks.at(-1);
    checkRoot(mkbk, [mkbk.vendor, mkbk.line]);
    if (newest !== undefined && (newest.vendor !== mkbk.vendor || newest.line !== mkbk.line)) {
      throw new Refused('Conflict', 'This device was made for another vendor or product line.');
    }
    append(this.#mkbks, mkbk);
  }

  /**
   * Takes ownership of the key. A second time with the same epoch and key changes nothing.
   * @throws Refused `InvalidRequest`, `Conflict` for another owner or an epoch that does not grow.
   */
  addAkbk(akbk: Akbk): void {
    const newest = this.#akbks.at(-1);
    checkRoot(akbk, [akbk.owner]);
    if (newest !== undefined && newest.owner !== akbk.owner) {
      throw new Refused('Conflict', 'This device is enrolled for another owner.');
    }
    append(this.#akbks, akbk);
  }

  /** Which backups open here. @throws Broken before both roots are in. */
  domain(): RestoreDomain {
    const { mkbk, akbk } = this.#newest();
    return { vendor: mkbk.vendor, line: mkbk.line, owner: akbk.owner };
  }

  /** The newest of each: what a new backup is sealed under. @throws Broken before both roots are in. */
  epochs(): Epochs {
    const { mkbk, akbk } = this.#newest();
    return { mkbk: mkbk.epoch, akbk: akbk.epoch };
  }

  has(epochs: Epochs): boolean {
    return this.#find(epochs) !== undefined;
  }

  /**
   * The persistent backup key of these epochs; keep it no longer than one seal or one open.
   *
   * Source: NIST SP 800-108r1 §4.1 over MKBK ‖ AKBK (SP 800-133r2 §6.3); docs/formats/backup-v1.md.
   * @throws Broken for epochs that are not here (`has`).
   */
  pbk(epochs: Epochs): KeyObject {
    const pair = this.#find(epochs);
    assert(pair !== undefined, 'roots of these epochs are not here');
    const { mkbk, akbk } = pair;
    const keyIn = concat(mkbk.key.expose(), akbk.key.expose());
    try {
      const context = lengthPrefixed(
        fromUtf8(mkbk.vendor),
        fromUtf8(mkbk.line),
        fromUtf8(akbk.owner),
        u32(mkbk.epoch),
        u32(akbk.epoch),
      );
      const raw = deriveKey({ key: keyIn, label: PBK_LABEL, context, lengthBytes: PBK_BYTES });
      try {
        return createSecretKey(raw);
      } finally {
        raw.fill(0);
      }
    } finally {
      keyIn.fill(0);
    }
  }

  /** Oldest first. Only for the device's own sealed record. */
  entries(): { readonly mkbks: readonly Mkbk[]; readonly akbks: readonly Akbk[] } {
    return { mkbks: [...this.#mkbks], akbks: [...this.#akbks] };
  }

  [Symbol.dispose](): void {
    for (const root of [...this.#mkbks, ...this.#akbks]) root.key.wipe();
    this.#mkbks.length = 0;
    this.#akbks.length = 0;
  }

  #newest(): { mkbk: Mkbk; akbk: Akbk } {
    const mkbk = this.#mkbks.at(-1);
    const akbk = this.#akbks.at(-1);
    assert(mkbk !== undefined && akbk !== undefined, 'this device is not enrolled yet');
    return { mkbk, akbk };
  }

  #find(epochs: Epochs): { mkbk: Mkbk; akbk: Akbk } | undefined {
    const mkbk = this.#mkbks.find((root) => root.epoch === epochs.mkbk);
    const akbk = this.#akbks.find((root) => root.epoch === epochs.akbk);
    return mkbk === undefined || akbk === undefined ? undefined : { mkbk, akbk };
  }
}

function checkRoot(root: Mkbk | Akbk, texts: readonly string[]): void {
  const isEpoch = Number.isInteger(root.epoch) && root.epoch >= 1 && root.epoch <= MAX_EPOCH;
  if (!isEpoch)
    throw new Refused('InvalidRequest', 'An epoch is a whole number from 1 to 2^32 - 1.');
  if (root.key.length !== ROOT_KEY_BYTES) {
    throw new Refused('InvalidRequest', 'A root key has 32 bytes.');
  }
  if (!texts.every(isDomainText)) {
    throw new Refused(
      'InvalidRequest',
      'Vendor, product line and owner have 1 to 64 bytes each and no control characters.',
    );
  }
}

function append<Root extends Mkbk | Akbk>(roots: Root[], root: Root): void {
  const newest = roots.at(-1);
  if (newest === undefined || root.epoch > newest.epoch) {
    roots.push(root);
    return;
  }
  const same = roots.find((known) => known.epoch === root.epoch);
  if (same === undefined || !equalBytes(same.key.expose(), root.key.expose())) {
    throw new Refused(
      'Conflict',
      `Root keys only grow: epoch ${root.epoch} does not follow epoch ${newest.epoch}.`,
    );
  }
  if (same.key !== root.key) root.key.wipe();
}
