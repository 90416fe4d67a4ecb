/**
 * Makes copies, a few at a time: those that were asked for, those that rules want, and those that a dead
 * process left half-way. Everything that is to be done stands in rows; here is only who is busy with it.
 */
import type { Catalog, CatalogWriter } from '../catalog/catalog.ts';
import type { Background } from '../kernel/background.ts';
import { Failed, Refused } from '../kernel/errors.ts';
import { type BackupId, newBackupId } from '../kernel/ids.ts';
import { Lanes } from '../kernel/lanes.ts';
import type { Random } from '../kernel/random.ts';
import type { Serial } from '../kernel/serial.ts';
import { isOffered } from '../profile.ts';
import type { Backup } from './backup.ts';
import {
  type CopyDeps,
  type CopyRequest,
  type CopyRow,
  decideCopy,
  finishCopy,
  isCopyUnderWay,
} from './copy.ts';
import type { CopyRule, WantedCopy } from './copy-rule.ts';
import { nextCopyTry } from './copy-rules.ts';

/** Each needs a drill HSM; backups of live clusters come before copies. */
const COPIES_AT_ONCE = 2;
/** Of those, what rules may take: somebody who asks for a copy does not wait behind a catch-up. */
const RULE_COPIES_AT_ONCE = 1;
const MAX_UNDER_WAY = 1_000;

export interface CopierDeps extends CopyDeps {
  readonly catalog: Catalog;
  readonly random: Random;
  readonly background: Background;
  readonly regions: readonly string[];
  /** One turn for each backup: it is not purged while a copy of it begins. */
  readonly turns: Serial;
}

export class Copier {
  readonly #deps: CopierDeps;
  readonly #lanes = new Lanes(COPIES_AT_ONCE);
  readonly #ruleLane = new Lanes(RULE_COPIES_AT_ONCE);
  readonly #busy = new Set<BackupId>();

  constructor(deps: CopierDeps) {
    this.#deps = deps;
  }

  /** Answers with the row as soon as the intent is durable; the rest goes on by itself. */
  begin(
    sourceId: BackupId,
    find: (found: Backup | undefined) => Backup,
    request: CopyRequest,
    onCreated: (writer: CatalogWriter, copy: Backup) => void = () => {},
  ): Promise<CopyRow> {
    const { catalog, turns } = this.#deps;
    return turns.run(sourceId, async () => {
      const row = catalog.transact((writer) => {
        const underWay = writer.backupsIn(['CREATE_IN_PROGRESS']).filter(isCopyUnderWay);
        if (underWay.length >= MAX_UNDER_WAY) {
          throw new Refused(
            'LimitExceeded',
            `${MAX_UNDER_WAY} copies are under way; wait until some are READY.`,
          );
        }
        const copy = this.#decide(find(writer.backup(sourceId)), request);
        writer.createBackup(copy);
        onCreated(writer, copy);
        return copy;
      });
      this.#start(row);
      return row;
    });
  }

  /** Goes on with every copy that is under way and that nobody is busy with. */
  resume(): void {
    const rows = this.#deps.catalog.read((reader) => reader.backupsIn(['CREATE_IN_PROGRESS']));
    for (const row of rows.filter(isCopyUnderWay)) this.#start(row);
  }

  /** Makes the copies that rules want and whose time has come, until there is none; wishes outlive a profile. */
  makeWanted(): Promise<void> {
    return this.#ruleLane.run(async () => {
      if (!isOffered(this.#deps.profile, 'copyRules')) return;
      // Each turn ends a wish or moves it into the future, so this ends.
      for (;;) {
        const { catalog, clock } = this.#deps;
        const [wish] = catalog.read((reader) =>
          // One that was interrupted, or waits for roots to be unlocked, comes first: `resume` has it.
          reader.backupsIn(['CREATE_IN_PROGRESS']).some(({ id }) => reader.wishOf(id) !== undefined)
            ? []
            : reader.copiesWanted(clock.now(), 1),
        );
        if (wish === undefined) return;
        await this.#fulfil(wish);
      }
    });
  }

  #start(row: CopyRow): void {
    if (this.#busy.has(row.id)) return;
    this.#deps.background.run(`copy ${row.id}`, () => this.#make(row));
  }

  async #make(row: CopyRow): Promise<void> {
    this.#busy.add(row.id);
    try {
      await this.#lanes.run(() => finishCopy(this.#deps, row));
    } catch {
      // `finishCopy` has told why, in the row and as an event.
    } finally {
      this.#busy.delete(row.id);
    }
  }

  async #fulfil(wish: WantedCopy): Promise<void> {
    const row = await this.#deps.turns.run(wish.backupId, async () => {
      try {
        return this.#beginWanted(wish);
      } catch (cause) {
        this.#putOff(wish, cause);
        return undefined;
      }
    });
    if (row !== undefined) await this.#make(row);
  }

  /** The copy's row and its place in the wish are one fact. @returns undefined when nothing is wanted any more. */
  #beginWanted(wish: WantedCopy): CopyRow | undefined {
    const { catalog } = this.#deps;
    return catalog.transact((writer) => {
      const rule = writer.copyRule(wish.ruleId);
      const source = writer.backup(wish.backupId);
      if (rule === undefined || source === undefined || source.state === 'DELETED') {
        writer.removeWantedCopy(wish);
        return undefined;
      }
      const copy = this.#decide(source, requestOf(rule));
      writer.createBackup(copy);
      writer.putWantedCopy({ ...wish, copyId: copy.id });
      return copy;
    });
  }

  #decide(source: Backup, request: CopyRequest): CopyRow {
    const { random, clock, regions } = this.#deps;
    return decideCopy(source, request, { id: newBackupId(random), now: clock.now(), regions });
  }

  /** A copy that could not even begin: a region that is not served any more, for example. */
  #putOff(wish: WantedCopy, cause: unknown): void {
    // Not the wish's trouble, and it would come again at once.
    if (cause instanceof Failed) throw cause;
    const { catalog, clock, events } = this.#deps;
    const tries = wish.tries + 1;
    catalog.transact((writer) => {
      writer.putWantedCopy({ ...wish, tries, nextAt: nextCopyTry(clock.now(), tries) });
    });
    events.emit({
      kind: 'copyFailed',
      sourceBackupId: wish.backupId,
      region: catalog.read((reader) => reader.copyRule(wish.ruleId))?.toRegion ?? '',
      why: cause instanceof Error ? cause.message : String(cause),
    });
  }
}

function requestOf({ toRegion, retentionDays }: CopyRule): CopyRequest {
  return retentionDays === undefined ? { toRegion } : { toRegion, retentionDays };
}
