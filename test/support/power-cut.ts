/**
 * A power cut, simulated on what a real process really asked of the kernel.
 *
 * The process runs under strace. From its system calls we know every write, what a later fsync (or an
 * O_DSYNC open) had made durable by any moment, and what was only in the kernel's memory. An image is
 * the disk as it may look after the power went at a random moment: what was durable is there; every other
 * write was kept, lost, or torn at 512-byte sectors, each on its own; of the names in a folder that
 * were not covered by a sync of that folder, any number of the last ones is missing. That is harsher
 * than common file systems are.
 *
 * The process acknowledges with lines `ACK <id>` on its standard output; an image says which came
 * before the cut. Not modelled: shared memory maps (SQLite's -shm is rebuilt after a crash anyway),
 * renames between folders, child processes.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, realpath, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { Luck } from './luck.ts';
import { descriptorOf, parseTrace, payloadOf, type SystemCall, textOf } from './strace.ts';
import { tempFolder } from './temp-folder.ts';

const SECTOR_BYTES = 512;
const TRACED = [
  'openat,creat,close,lseek,write,pwrite64,writev,pwritev,pwritev2,ftruncate,fallocate',
  'fsync,fdatasync,link,linkat,unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,rmdir',
].join(',');

/** Why the simulation cannot run here; undefined when it can. */
export const cannotCutPower: string | undefined = ['/usr/bin/strace', '/bin/strace'].some(
  existsSync,
)
  ? undefined
  : 'strace is not installed (Debian: apt-get install strace)';

export interface DiskImage {
  /** Deleted when the next image is asked for. */
  readonly folder: string;
  /** Ids of the acknowledgements that were out before the power went. */
  readonly acknowledged: ReadonlySet<string>;
  /** For the failure's message: seed, number and moment. */
  readonly name: string;
}

export interface Recording {
  /** All of them, in order. */
  readonly acknowledgements: readonly string[];
  /** How many writes, names and syncs were seen below the folder. */
  readonly operations: number;
  images(seed: number, count: number): AsyncIterable<DiskImage>;
}

/** Runs the command to its end. `folder` must be empty. @throws when it fails. */
export async function recordWrites(options: {
  command: string;
  args: readonly string[];
  folder: string;
}): Promise<Recording> {
  await using temp = await tempFolder();
  const trace = join(temp.path, 'trace');
  const flags = ['-f', '-y', '-xx', '-s', '33554432', '--seccomp-bpf', '-e', `trace=${TRACED}`];
  await run('strace', [...flags, '-o', trace, options.command, ...options.args]);
  const disk = new TracedDisk(await realpath(options.folder));
  for (const call of parseTrace(await readFile(trace, 'latin1'))) disk.apply(call);
  return disk.recording();
}

async function run(command: string, args: readonly string[]): Promise<void> {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (data: Buffer) => {
    errors += data.toString();
  });
  const [code] = await new Promise<[number | null]>((done, fail) => {
    child.on('error', fail);
    child.on('close', (status) => done([status]));
  });
  if (code !== 0) throw new Error(`${args.at(-1)} ended with ${code}: ${errors.slice(-2_000)}`);
}

interface Moment {
  readonly begin: number;
  readonly end: number;
}

interface DataChange extends Moment {
  /** A write, or a new length. */
  readonly change:
    | { readonly at: number; readonly bytes: Uint8Array }
    | { readonly length: number };
  readonly isDurable: boolean;
}

interface NameChange extends Moment {
  readonly add?: { readonly name: string; readonly node: Node };
  readonly remove?: string;
}

class FileNode {
  readonly changes: DataChange[] = [];
  readonly syncs: Moment[] = [];
  length = 0;
}

class FolderNode {
  readonly changes: NameChange[] = [];
  readonly syncs: Moment[] = [];
  readonly entries = new Map<string, Node>();
}

type Node = FileNode | FolderNode;

interface Descriptor {
  readonly node: Node;
  readonly isDurable: boolean;
  readonly isAppending: boolean;
  position: number;
}

/** Replays the calls into files and folders that remember how they came about. */
class TracedDisk {
  readonly #path: string;
  readonly #root = new FolderNode();
  readonly #descriptors = new Map<number, Descriptor>();
  readonly #acknowledgements: (Moment & { id: string })[] = [];
  #operations = 0;

  constructor(path: string) {
    this.#path = path;
  }

  recording(): Recording {
    const acknowledgements = this.#acknowledgements;
    const root = this.#root;
    return {
      acknowledgements: acknowledgements.map(({ id }) => id),
      operations: this.#operations,
      images: async function* (seed, count) {
        const last = lastMoment(root, acknowledgements);
        for (let n = 0; n < count; n += 1) {
          await using temp = await tempFolder();
          const luck = new Luck(seed * 1_000_003 + n);
          // The first image is a cut after everything: only what was never synced may be missing.
          const cut = n === 0 ? last + 1 : luck.below(last + 2);
          await new Image(cut, luck).write(root, temp.path);
          yield {
            folder: temp.path,
            acknowledged: new Set(
              acknowledgements.filter(({ end }) => end < cut).map(({ id }) => id),
            ),
            name: `seed ${seed}, image ${n}, cut before line ${cut}`,
          };
        }
      },
    };
  }

  apply(call: SystemCall): void {
    const { name, args, result } = call;
    const [first = '', second = '', third = '', fourth = ''] = args;
    // A call that was cut off by the end of the process may have had its effect or not; reading the
    // trace as if it had none is right for names and syncs, and lets writes be lost.
    if (result < 0) return;
    switch (name) {
      case 'openat':
        this.#open(this.#resolve(first, second), third, result, call);
        return;
      case 'creat':
        this.#open(textOf(first), 'O_WRONLY|O_CREAT|O_TRUNC', result, call);
        return;
      case 'close':
        this.#descriptors.delete(descriptorOf(first));
        return;
      case 'lseek': {
        const descriptor = this.#descriptors.get(descriptorOf(first));
        if (descriptor !== undefined) descriptor.position = result;
        return;
      }
      case 'write':
      case 'writev':
        this.#append(descriptorOf(first), payloadOf(second).subarray(0, result), call);
        return;
      case 'pwrite64':
      case 'pwritev':
      case 'pwritev2':
        this.#write(
          this.#descriptors.get(descriptorOf(first)),
          Number(fourth),
          payloadOf(second).subarray(0, result),
          call,
        );
        return;
      case 'ftruncate':
        this.#resize(descriptorOf(first), Number(second), call);
        return;
      case 'fallocate': {
        const length = Number(third) + Number(fourth);
        const node = this.#descriptors.get(descriptorOf(first))?.node;
        if (node instanceof FileNode && length > node.length) {
          this.#resize(descriptorOf(first), length, call);
        }
        return;
      }
      case 'fsync':
      case 'fdatasync':
        this.#descriptors.get(descriptorOf(first))?.node.syncs.push(moment(call));
        this.#operations += 1;
        return;
      case 'mkdir':
        this.#add(textOf(first), new FolderNode(), call);
        return;
      case 'mkdirat':
        this.#add(this.#resolve(first, second), new FolderNode(), call);
        return;
      case 'unlink':
      case 'rmdir':
        this.#remove(textOf(first), call);
        return;
      case 'unlinkat':
        this.#remove(this.#resolve(first, second), call);
        return;
      case 'link':
        this.#link(textOf(first), textOf(second), call);
        return;
      case 'linkat':
        this.#link(this.#resolve(first, second), this.#resolve(third, fourth), call);
        return;
      case 'rename':
        this.#rename(textOf(first), textOf(second), call);
        return;
      case 'renameat':
      case 'renameat2':
        this.#rename(this.#resolve(first, second), this.#resolve(third, fourth), call);
        return;
      default:
        throw new Error(`a traced call that is not modelled: ${name}`);
    }
  }

  /** `AT_FDCWD</home>` or `7</folder>`, and a path beside it. */
  #resolve(at: string, path: string): string {
    return resolve(/<(.*)>$/.exec(at)?.[1] ?? '/', textOf(path));
  }

  #open(path: string, flags: string, descriptor: number, call: SystemCall): void {
    this.#descriptors.delete(descriptor);
    if (!this.#isBelow(path)) return;
    const set = new Set(flags.split('|'));
    let node = this.#find(path);
    if (node === undefined && set.has('O_CREAT')) {
      node = new FileNode();
      this.#add(path, node, call);
    }
    if (node === undefined) return;
    this.#descriptors.set(descriptor, {
      node,
      isDurable: set.has('O_DSYNC') || set.has('O_SYNC'),
      isAppending: set.has('O_APPEND'),
      position: 0,
    });
    if (set.has('O_TRUNC')) this.#resize(descriptor, 0, call);
  }

  #append(number: number, bytes: Uint8Array, call: SystemCall): void {
    if (number === 1) this.#hear(bytes, call);
    const descriptor = this.#descriptors.get(number);
    if (descriptor === undefined || !(descriptor.node instanceof FileNode)) return;
    const at = descriptor.isAppending ? descriptor.node.length : descriptor.position;
    this.#write(descriptor, at, bytes, call);
    descriptor.position = at + bytes.length;
  }

  #hear(bytes: Uint8Array, call: SystemCall): void {
    for (const [, id = ''] of Buffer.from(bytes)
      .toString()
      .matchAll(/^ACK (.*)$/gm)) {
      this.#acknowledgements.push({ id, ...moment(call) });
    }
  }

  #write(
    descriptor: Descriptor | undefined,
    at: number,
    bytes: Uint8Array,
    call: SystemCall,
  ): void {
    if (descriptor === undefined || !(descriptor.node instanceof FileNode)) return;
    const { node, isDurable } = descriptor;
    node.changes.push({ change: { at, bytes }, isDurable, ...moment(call) });
    node.length = Math.max(node.length, at + bytes.length);
    this.#operations += 1;
  }

  #resize(number: number, length: number, call: SystemCall): void {
    const node = this.#descriptors.get(number)?.node;
    if (!(node instanceof FileNode)) return;
    node.changes.push({ change: { length }, isDurable: false, ...moment(call) });
    node.length = length;
    this.#operations += 1;
  }

  #add(path: string, node: Node, call: SystemCall): void {
    const parent = this.#parentOf(path);
    if (parent === undefined) return;
    const name = basename(path);
    parent.entries.set(name, node);
    parent.changes.push({ add: { name, node }, ...moment(call) });
    this.#operations += 1;
  }

  #remove(path: string, call: SystemCall): void {
    const parent = this.#parentOf(path);
    if (parent === undefined) return;
    parent.entries.delete(basename(path));
    parent.changes.push({ remove: basename(path), ...moment(call) });
    this.#operations += 1;
  }

  #link(from: string, to: string, call: SystemCall): void {
    const node = this.#find(from);
    if (node !== undefined) this.#add(to, node, call);
  }

  #rename(from: string, to: string, call: SystemCall): void {
    const node = this.#find(from);
    const parent = this.#parentOf(to);
    if (node === undefined || parent === undefined) return;
    if (dirname(from) !== dirname(to)) throw new Error('a rename between folders is not modelled');
    parent.entries.delete(basename(from));
    parent.entries.set(basename(to), node);
    const add = { name: basename(to), node };
    parent.changes.push({ remove: basename(from), add, ...moment(call) });
    this.#operations += 1;
  }

  #isBelow(path: string): boolean {
    return path === this.#path || path.startsWith(`${this.#path}/`);
  }

  #find(path: string): Node | undefined {
    if (!this.#isBelow(path)) return undefined;
    let node: Node | undefined = this.#root;
    for (const name of path.slice(this.#path.length).split('/').filter(Boolean)) {
      node = node instanceof FolderNode ? node.entries.get(name) : undefined;
    }
    return node;
  }

  #parentOf(path: string): FolderNode | undefined {
    const parent = this.#find(dirname(path));
    return parent instanceof FolderNode ? parent : undefined;
  }
}

/** One way the disk may look after the power went at `cut`. */
class Image {
  readonly #cut: number;
  readonly #luck: Luck;
  /** Some images lose everything they may, some nothing, most a part. */
  readonly #keepShare: number;

  constructor(cut: number, luck: Luck) {
    this.#cut = cut;
    this.#luck = luck;
    this.#keepShare = [0, 0.2, 0.5, 0.9, 1][luck.below(5)] ?? 0.5;
  }

  async write(folder: FolderNode, path: string): Promise<void> {
    for (const [name, node] of this.#entriesOf(folder)) {
      if (node instanceof FolderNode) {
        await mkdir(join(path, name), { mode: 0o700 });
        await this.write(node, join(path, name));
      } else {
        await writeFile(join(path, name), this.#contentOf(node), { mode: 0o600 });
      }
    }
  }

  #entriesOf(folder: FolderNode): ReadonlyMap<string, Node> {
    const begun = folder.changes.filter(({ begin }) => begin < this.#cut);
    const safe = begun.filter((change) => this.#isSynced(change, folder)).length;
    const kept = begun.slice(0, safe + this.#some(begun.length - safe));
    const entries = new Map<string, Node>();
    for (const { add, remove } of kept) {
      if (remove !== undefined) entries.delete(remove);
      if (add !== undefined) entries.set(add.name, add.node);
    }
    return entries;
  }

  #contentOf(file: FileNode): Uint8Array {
    const content = new Content();
    for (const each of file.changes) {
      if (each.begin >= this.#cut) continue;
      const isSafe = (each.isDurable && each.end < this.#cut) || this.#isSynced(each, file);
      const { change } = each;
      if ('length' in change) {
        if (isSafe || this.#isLucky()) content.resize(change.length);
      } else {
        for (const { at, bytes } of isSafe ? [change] : this.#tear(change)) {
          content.write(at, bytes);
        }
      }
    }
    return content.bytes;
  }

  #isSynced(change: Moment, node: Node): boolean {
    return node.syncs.some(({ begin, end }) => change.end < begin && end < this.#cut);
  }

  /** Whole, not at all, or some of its sectors. */
  #tear(write: { at: number; bytes: Uint8Array }): readonly { at: number; bytes: Uint8Array }[] {
    if (this.#luck.below(3) > 0) return this.#isLucky() ? [write] : [];
    const sectors: { at: number; bytes: Uint8Array }[] = [];
    const end = write.at + write.bytes.length;
    for (let at = write.at; at < end; ) {
      const next = Math.min(end, (Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES);
      const bytes = write.bytes.subarray(at - write.at, next - write.at);
      if (this.#isLucky()) sectors.push({ at, bytes });
      at = next;
    }
    return sectors;
  }

  #isLucky(): boolean {
    return this.#luck.share() < this.#keepShare;
  }

  #some(most: number): number {
    if (this.#keepShare === 0) return 0;
    return this.#keepShare === 1 ? most : this.#luck.below(most + 1);
  }
}

/** A file's bytes while they come and go; holes are zeros. */
class Content {
  #room = Buffer.alloc(64 * 1024);
  #length = 0;

  get bytes(): Uint8Array {
    return this.#room.subarray(0, this.#length);
  }

  resize(length: number): void {
    if (length > this.#room.length) {
      this.#room = Buffer.concat([this.#room, Buffer.alloc(length)]);
    }
    if (length < this.#length) this.#room.fill(0, length, this.#length);
    this.#length = length;
  }

  write(at: number, bytes: Uint8Array): void {
    if (at + bytes.length > this.#length) this.resize(at + bytes.length);
    this.#room.set(bytes, at);
  }
}

const moment = ({ begin, end }: SystemCall): Moment => ({ begin, end });

function lastMoment(root: FolderNode, others: readonly Moment[]): number {
  const seen = new Set<Node>();
  const ends = (node: Node): readonly number[] => {
    if (seen.has(node)) return [];
    seen.add(node);
    const own = [...node.changes, ...node.syncs].map(({ end }) => end);
    if (!(node instanceof FolderNode)) return own;
    const children = node.changes.flatMap(({ add }) => (add === undefined ? [] : ends(add.node)));
    return [...own, ...children];
  };
  return Math.max(0, ...ends(root).concat(others.map(({ end }) => end)));
}
