/**
 * Seals the whole state into an archive, and replaces it by what an archive holds.
 *
 * It must never hand on a seal of a state that was replaced or erased meanwhile, nor touch the present
 * state before every byte of the archive is verified.
 */
import { createHash } from 'node:crypto';
import { fromBase64, toBase64, toHex } from '../kernel/bytes.ts';
import type { Clock } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import type { Random } from '../kernel/random.ts';
import type { JsonObject } from '../kernel/types.ts';
import type { Answer, Params } from './answers.ts';
import { auditChange } from './audit.ts';
import { stateDigest } from './backup/digest.ts';
import { openArchive } from './backup/open.ts';
import type { Schema } from './backup/records.ts';
import { sealState } from './backup/seal.ts';
import { countsOf } from './counts.ts';
import type { DeviceRecord } from './device-record.ts';
import type { DurableStore } from './durable-store.ts';
import { certifyKey, newIncarnation, partitionKey, rootsOf } from './identity.ts';
import type { Officers } from './officers.ts';
import { asJson, type OpenedArchiveFacts, sealStatement, signedBy } from './proof.ts';
import type { OpenOutcome, SealOutcome } from './protocol.ts';
import type { Partition } from './state.ts';
import type { Change } from './store.ts';

export interface ArchiveNeeds {
  readonly clock: Clock;
  readonly random: Random;
  /** SHA-256 of the program that runs, hex. */
  readonly codeSha256: string;
  readonly schema: Schema;
  /** What is loaded now; asked at every call, because a zeroisation loads anew. */
  readonly parts: () => { readonly store: DurableStore; readonly officers: Officers };
  readonly device: () => DeviceRecord;
  readonly onOpened: (facts: OpenedArchiveFacts) => void;
}

export class Archive {
  readonly #needs: ArchiveNeeds;
  /** Grows when the state as a whole is replaced or erased: a seal of the state before must end. */
  #life = 0;

  constructor(needs: ArchiveNeeds) {
    this.#needs = needs;
  }

  /** The state as a whole is replaced, erased or no longer trusted: seals that run now are refused. */
  endLife(): void {
    this.#life += 1;
  }

  async seal({ backupId }: Params<'seal'>): Promise<Answer<'seal'>> {
    const { random, clock, codeSha256, schema } = this.#needs;
    const { store } = this.#needs.parts();
    const device = this.#needs.device();
    const life = this.#life;
    await store.commit([this.#audit('CN_BACKUP_BEGIN', backupId)]);
    this.#checkLife(life);
    const { shared, local } = store.frozen();
    const roots = rootsOf(device);
    const sealing = sealState({
      shared,
      local,
      backupId,
      roots,
      random,
      schema,
    });
    const end = async (response: 0 | 1): Promise<void> => {
      roots[Symbol.dispose]();
      await this.#note(this.#audit('CN_BACKUP_END', backupId, response));
    };
    const body = async function* (archive: Archive) {
      let isWhole = false;
      try {
        for await (const chunk of sealing.body) {
          archive.#checkLife(life);
          yield chunk;
        }
        isWhole = true;
      } finally {
        if (!isWhole) await end(1);
      }
    };
    // After the body, so that whoever stores it syncs while the state is walked once more.
    const trailer = async (): Promise<JsonObject> => {
      let response: 0 | 1 = 1;
      try {
        this.#checkLife(life);
        const { sealRecord, headerSha256, bodySha256 } = sealing.finish();
        const statement = sealStatement({
          backupId,
          partition: shared.partition,
          generation: shared.generation,
          domain: roots.domain(),
          epochs: roots.epochs(),
          counts: countsOf(shared),
          bodyBytes: sealing.bodyBytes,
          headerSha256,
          bodySha256,
          sealRecordSha256: sha256(sealRecord),
          stateDigest: await stateDigest(shared),
          serial: device.serial,
          codeSha256,
          sealedAt: clock.now(),
        });
        this.#checkLife(life);
        const outcome: SealOutcome = {
          sealRecord: toBase64(sealRecord),
          seal: signedBy(device, statement),
        };
        response = 0;
        return asJson(outcome);
      } finally {
        await end(response);
      }
    };
    return { result: {}, body: body(this), trailer };
  }

  /** A record of what already happened: when it can't be written, the disk's failure is told elsewhere. */
  async #note(change: Change): Promise<void> {
    try {
      await this.#needs.parts().store.commit([change]);
    } catch {
      // The store has put the HSM into its error state, or the state was zeroised meanwhile.
    }
  }

  #checkLife(life: number): void {
    if (life !== this.#life) {
      throw new Refused(
        'WrongState',
        'The state was replaced or erased while it was being sealed.',
      );
    }
  }

  /** Replaces the whole state; the caller lets nothing else change it meanwhile. */
  async open(params: Params<'open'>, body: AsyncIterable<Uint8Array>): Promise<Answer<'open'>> {
    const { store } = this.#needs.parts();
    await store.commit([this.#audit('CN_RESTORE_BEGIN', params.as.clusterId)]);
    try {
      return { result: await this.#replaceBy(params, body) };
    } catch (cause) {
      await this.#note(this.#audit('CN_RESTORE_END', params.as.clusterId, 1));
      throw cause;
    }
  }

  /** Everything is verified before anything is touched; then all of the previous state goes at once. */
  async #replaceBy(
    { sealRecord, as, type, mode }: Params<'open'>,
    body: AsyncIterable<Uint8Array>,
  ): Promise<OpenOutcome> {
    const { store, officers } = this.#needs.parts();
    const { clock, random } = this.#needs;
    const device = this.#needs.device();
    using roots = rootsOf(device);
    const record = decodeSealRecord(sealRecord);
    const counted = new CountedBody(body);
    const opened = await openArchive({
      sealRecord: record,
      body: counted,
      roots,
      expect: { type, mode },
    });
    const sealed = opened.shared.partition;
    if (!as.isClone && sealed.clusterId !== as.clusterId) {
      throw new Refused(
        'WrongState',
        `This backup is of ${sealed.clusterId}; ${as.clusterId} takes it as a clone only.`,
      );
    }
    if (as.afterGeneration !== undefined && !as.isClone) {
      throw new Refused('InvalidRequest', 'Only a new incarnation goes on above a generation.');
    }
    const generation =
      as.afterGeneration === undefined
        ? opened.shared.generation
        : Math.max(opened.shared.generation, as.afterGeneration) + 1;
    const partition: Partition = {
      ...sealed,
      clusterId: as.clusterId,
      incarnation: as.isClone ? newIncarnation(random) : sealed.incarnation,
      type,
      mode,
    };
    const before = store.hasPartition ? store.shared : null;
    const hsmCertificate = certifyKey(device, partitionKey(sealed), { clock, random });
    await officers.replaceState('another state was restored', async () => {
      this.endLife();
      await store.replace(
        { ...opened.shared, generation, partition },
        opened.local,
        hsmCertificate,
      );
    });
    // The records that are in the store now, whatever officers change from here on.
    const { shared } = store.frozen();
    const was = before === null ? 'blank' : `${before.partition.incarnation}/${before.generation}`;
    await store.commit([
      this.#audit(
        'CN_RESTORE_END',
        `was ${was}, is ${partition.incarnation}/${generation}, ` +
          `sealed ${sealed.incarnation}/${opened.shared.generation}, sealed audit position ${opened.local.auditSequence}`,
      ),
    ]);
    const outcome: OpenOutcome = {
      // Under the names and the number they were sealed with.
      stateDigest: await stateDigest({
        ...shared,
        generation: opened.shared.generation,
        partition: sealed,
      }),
      counts: countsOf(shared),
      generation,
      sealedIncarnation: sealed.incarnation,
      incarnation: partition.incarnation,
      headerSha256: opened.headerSha256,
      bodySha256: opened.bodySha256,
      epochs: opened.epochs,
    };
    this.#needs.onOpened({
      backupId: opened.backupId,
      outcome,
      partition: sealed,
      domain: roots.domain(),
      bodyBytes: counted.bytes,
      sealRecordSha256: sha256(record),
    });
    return outcome;
  }

  #audit(opcode: string, details: string, response = 0): Change {
    return auditChange(this.#needs.clock.now(), { opcode, details, response });
  }
}

function decodeSealRecord(sealRecord: string): Uint8Array {
  try {
    return fromBase64(sealRecord);
  } catch {
    throw new Refused('InvalidRequest', 'A seal record is base64 text.');
  }
}

const sha256 = (bytes: Uint8Array): string => toHex(createHash('sha256').update(bytes).digest());

class CountedBody implements AsyncIterable<Uint8Array> {
  readonly #body: AsyncIterable<Uint8Array>;
  bytes = 0;

  constructor(body: AsyncIterable<Uint8Array>) {
    this.#body = body;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, void> {
    for await (const chunk of this.#body) {
      this.bytes += chunk.length;
      yield chunk;
    }
  }
}
