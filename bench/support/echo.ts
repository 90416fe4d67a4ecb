/** A bare HTTP echo in a process of its own: what HTTP on loopback costs before anybody does any work. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';

if (import.meta.main) serveEcho();

export async function startEcho(): Promise<{ url: URL } & AsyncDisposable> {
  const child = fork(import.meta.filename);
  return {
    url: new URL(`http://127.0.0.1:${await portOf(child)}`),
    [Symbol.asyncDispose]: async () => {
      const ended = once(child, 'exit');
      child.kill();
      await ended;
    },
  };
}

async function portOf(child: ChildProcess): Promise<number> {
  const [port]: unknown[] = await once(child, 'message');
  if (typeof port === 'number') return port;
  throw new Error('the echo told no port');
}

function serveEcho(): void {
  const server = createServer((incoming, answer) => {
    const parts: Buffer[] = [];
    incoming.on('data', (part: Buffer) => parts.push(part));
    incoming.on('end', () => answer.end(Buffer.concat(parts)));
  });
  server.listen(0, '127.0.0.1', () => {
    const address = server.address();
    if (address !== null && typeof address === 'object') process.send?.(address.port);
  });
  // Whoever started it is gone.
  process.once('disconnect', () => process.exit());
}
