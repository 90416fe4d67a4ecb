/** A process that holds given bytes in its memory and does nothing, until it is asked to pass them on or dies. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { WITH_CORE_DUMPS } from './process-memory.ts';

const PROGRAM = fileURLToPath(new URL('./children/hold-bytes.ts', import.meta.url));

export class Holder implements AsyncDisposable {
  readonly #child: ChildProcess;

  /** @param folder its working folder, where its core file goes. */
  static async start(bytes: Uint8Array, folder: string): Promise<Holder> {
    const [command = '', ...through] = WITH_CORE_DUMPS;
    const child = spawn(command, [...through, process.execPath, PROGRAM], {
      cwd: folder,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    child.stdout.resume();
    child.stdin.end(bytes);
    const holder = new Holder(child);
    await holder.#says('HELD');
    return holder;
  }

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async passOn(): Promise<void> {
    this.#child.kill('SIGUSR2');
    await this.#says('PASSED ON');
  }

  async abort(): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGABRT');
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }

  async #says(text: string): Promise<void> {
    let said = '';
    while (!said.includes(text)) {
      const [part] = await once(this.#child.stderr ?? this.#child, 'data');
      said += String(part);
    }
  }
}
