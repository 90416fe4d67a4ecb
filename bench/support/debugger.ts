/**
 * What a process keeps in memory once its garbage is gone, asked through its own debugger: nothing in the
 * service knows of it. Start the process with `DEBUGGED`.
 */
import type { JsonObject } from '../../src/kernel/types.ts';

export const DEBUGGED = ['--inspect=127.0.0.1:0'];

const ANSWER_MS = 30_000;
/** What a collection frees only the next one may find: finalisers run in between. */
const COLLECTIONS = 3;

export interface Kept {
  /** Objects and buffers that are still reachable. */
  readonly liveBytes: number;
  readonly residentBytes: number;
}

export interface Debugger extends Disposable {
  kept(): Promise<Kept>;
}

/** @param said what the process wrote to stderr: the debugger's address is in it. */
export async function attachDebugger(said: string): Promise<Debugger> {
  const url = /Debugger listening on (ws:\S+)/.exec(said)?.[1];
  if (url === undefined) throw new Error(`no debugger listens:\n${said}`);
  const socket = new WebSocket(url);
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener('open', () => resolve(), { once: true });
    socket.addEventListener('error', () => reject(new Error(`no answer at ${url}`)), {
      once: true,
    });
  });
  let asked = 0;
  const ask = (method: string, params: JsonObject = {}): Promise<JsonObject> => {
    asked += 1;
    const id = asked;
    return new Promise((resolve, reject) => {
      const late = AbortSignal.timeout(ANSWER_MS);
      late.addEventListener('abort', () => reject(new Error(`${method}: no answer`)));
      const hear = ({ data }: MessageEvent): void => {
        // What the protocol sends is JSON objects.
        const message = JSON.parse(String(data)) as JsonObject;
        if (message['id'] !== id) return;
        socket.removeEventListener('message', hear);
        resolve(message['result'] as JsonObject);
      };
      socket.addEventListener('message', hear);
      socket.send(JSON.stringify({ id, method, params }));
    });
  };
  return {
    async kept() {
      for (let n = 0; n < COLLECTIONS; n += 1) await ask('HeapProfiler.collectGarbage');
      const expression = 'JSON.stringify(process.memoryUsage())';
      const { result } = await ask('Runtime.evaluate', { expression });
      // `result` is a remote object whose value is the text that was asked for.
      const usage = JSON.parse(String((result as JsonObject)['value'])) as NodeJS.MemoryUsage;
      return { liveBytes: usage.heapUsed + usage.external, residentBytes: usage.rss };
    },
    [Symbol.dispose]: () => socket.close(),
  };
}
