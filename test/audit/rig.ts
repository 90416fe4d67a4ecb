/** A trail on a temporary folder, with a clock that stands and a disk that fails when it is told to. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Head } from '../../src/audit/chain.ts';
import { type TrailFiles, trailFolder } from '../../src/audit/files.ts';
import type { Call } from '../../src/audit/record.ts';
import { type HeadKeeper, Trail, type TrailSettings } from '../../src/audit/trail.ts';
import { systemRandom } from '../../src/kernel/random.ts';
import type { EpochMs } from '../../src/kernel/types.ts';
import { FakeClock } from '../support/world.ts';

export const HOME = { account: '000000008228', region: 'us-east-1' };

export class FailingDisk implements TrailFiles {
  readonly #files: TrailFiles;
  /** How many changing calls pass before one fails; undefined: all. */
  passes: number | undefined;
  /** What a failing append leaves behind: so many bytes of it. */
  leaves = 0;
  /** From the first failure on everything fails: the power is gone. */
  isForGood = false;
  steps = 0;

  constructor(files: TrailFiles) {
    this.#files = files;
  }

  #step(): boolean {
    this.steps += 1;
    if (this.passes === undefined) return false;
    if (this.passes > 0) {
      this.passes -= 1;
      return false;
    }
    if (!this.isForGood) this.passes = undefined;
    return true;
  }

  names = () => this.#files.names();
  sizeBytes = (name: string) => this.#files.sizeBytes(name);
  read = (name: string, at: number, length: number) => this.#files.read(name, at, length);
  create(name: string): void {
    if (this.#step()) throw new Error('ENOSPC: no space left on device');
    this.#files.create(name);
  }
  append(name: string, bytes: Uint8Array): void {
    if (this.#step()) {
      this.#files.append(name, bytes.subarray(0, this.leaves));
      throw new Error('ENOSPC: no space left on device');
    }
    this.#files.append(name, bytes);
  }
  truncate(name: string, sizeBytes: number): void {
    if (this.#step()) throw new Error('EIO: i/o error');
    this.#files.truncate(name, sizeBytes);
  }
  async sync(name: string): Promise<void> {
    if (this.#step()) throw new Error('EIO: i/o error');
    await this.#files.sync(name);
  }
  remove(name: string): void {
    if (this.#step()) throw new Error('EIO: i/o error');
    this.#files.remove(name);
  }
}

export class Rig implements AsyncDisposable {
  readonly folder: string;
  readonly clock = new FakeClock();
  kept: Head | undefined;
  isClockTrusted = true;
  settings: TrailSettings = { fileBytes: 1e8, keepMs: 400 * 86_400_000 };

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async make(): Promise<Rig> {
    return new Rig(await mkdtemp(join(tmpdir(), 'ka-trail-')));
  }

  get files(): TrailFiles {
    return trailFolder(this.folder);
  }

  open(files: TrailFiles = this.files): Promise<Trail> {
    const heads: HeadKeeper = {
      get: () => this.kept,
      put: (head) => {
        this.kept = head;
      },
    };
    const { clock, settings } = this;
    return Trail.open({
      files,
      heads,
      clock,
      random: systemRandom,
      home: HOME,
      settings,
      trustedNow: () => (this.isClockTrusted ? clock.now() : undefined),
    });
  }

  call(changes: Partial<Call> = {}): Call {
    return {
      at: this.clock.now() as EpochMs,
      actor: { kind: 'root', account: HOME.account, keyId: 'KEYARKABCDEFGHIJKLMN' },
      name: 'DeleteBackup',
      isNative: false,
      isReadOnly: false,
      region: HOME.region,
      account: HOME.account,
      sourceAddress: '127.0.0.1',
      userAgent: 'test',
      requestId: 'request-1',
      request: { BackupId: 'backup-keyark2ab3cd4ef5' },
      resources: ['arn:aws:cloudhsm:us-east-1:000000008228:backup/backup-keyark2ab3cd4ef5'],
      ...changes,
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return rm(this.folder, { recursive: true, force: true });
  }
}
