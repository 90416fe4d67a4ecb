/**
 * The catalog in one SQLite file, `keyark.sqlite`: write-ahead log, one sync per commit. Calls are
 * synchronous, take tens of microseconds (a commit: one disk sync), and block the thread meanwhile.
 *
 * `synchronous=FULL` is set, not assumed: in WAL mode it makes a commit durable, not only consistent.
 */
import { chmodSync, closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { assert, Failed } from '../kernel/errors.ts';
import type { Catalog, CatalogReader, CatalogWriter } from './catalog.ts';
import { Reader } from './reader.ts';
import { upgrade } from './schema.ts';
import { Statements } from './statements.ts';
import { Writer } from './writer.ts';

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
/** How long a call waits for another process's lock, an online copy for example. */
const BUSY_MS = 2_000;

/** @throws Failed `CATALOG`: damaged, foreign, newer than this program, or the disk refuses. */
export function openCatalog({ folder }: { folder: string }): Catalog {
  return translating('opening the catalog', () => {
    const path = join(folder, 'keyark.sqlite');
    mkdirSync(folder, { recursive: true, mode: FOLDER_MODE });
    chmodSync(folder, FOLDER_MODE);
    // Made before SQLite opens it: the log and the shared-memory file inherit its mode.
    closeSync(openSync(path, 'a', FILE_MODE));
    chmodSync(path, FILE_MODE);
    const db = new DatabaseSync(path, { timeout: BUSY_MS });
    try {
      db.exec('pragma journal_mode = wal; pragma synchronous = full; pragma trusted_schema = off');
      upgrade(db);
      syncFolder(folder);
      syncFolder(dirname(folder));
    } catch (cause) {
      db.close();
      throw cause;
    }
    return new SqliteCatalog(db);
  });
}

class SqliteCatalog implements Catalog {
  readonly #db: DatabaseSync;
  readonly #reader: Reader;
  readonly #writer: Writer;
  readonly #begin: StatementSync;
  readonly #beginImmediate: StatementSync;
  readonly #commit: StatementSync;
  #under: 'nothing' | 'read' | 'transaction' = 'nothing';

  constructor(db: DatabaseSync) {
    const statements = new Statements(db);
    this.#db = db;
    this.#begin = db.prepare('begin');
    this.#beginImmediate = db.prepare('begin immediate');
    this.#commit = db.prepare('commit');
    this.#reader = new Reader(statements);
    this.#writer = new Writer(statements, () => this.#under === 'transaction');
  }

  read<T>(fn: (reader: CatalogReader) => T): T {
    // Within a read or a transaction there is a consistent view already.
    if (this.#under !== 'nothing') return fn(this.#reader);
    return this.#within('read', this.#begin, () => fn(this.#reader));
  }

  transact<T>(fn: (writer: CatalogWriter) => T): T {
    assert(this.#under === 'nothing', 'a transaction was started within another or within a read');
    return this.#within('transaction', this.#beginImmediate, () => fn(this.#writer));
  }

  [Symbol.dispose](): void {
    translating('closing the catalog', () => this.#db.close());
  }

  #within<T>(what: 'read' | 'transaction', begin: StatementSync, fn: () => T): T {
    return translating('the catalog', () => {
      begin.run();
      this.#under = what;
      try {
        const result = fn();
        assert(!isPromise(result), 'a catalog callback must not be asynchronous');
        this.#commit.run();
        return result;
      } catch (cause) {
        // SQLite rolls back by itself after some failures; a second time would be an error.
        if (this.#db.isTransaction) this.#db.exec('rollback');
        throw cause;
      } finally {
        this.#under = 'nothing';
      }
    });
  }
}

function isPromise(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'then' in value;
}

function syncFolder(path: string): void {
  const handle = openSync(path, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** SQLite's and the disk's errors become ours; everything else passes. */
function translating<T>(what: string, fn: () => T): T {
  try {
    return fn();
  } catch (cause) {
    const isWorld =
      cause instanceof Error &&
      (('code' in cause && cause.code === 'ERR_SQLITE_ERROR') || 'syscall' in cause);
    if (!isWorld) throw cause;
    throw new Failed('CATALOG', `${what}: ${cause.message}`, { cause });
  }
}
