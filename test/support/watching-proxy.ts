/**
 * Stands between a client and the service, passes everything on, and holds every successful answer of AWS's
 * operations against AWS's model: clients ignore what they do not know, so they would not tell.
 */
import { createServer, request as httpRequest, type IncomingMessage } from 'node:http';
import { checkAnswer } from './api-model.ts';

const AWS_TARGET = /^BaldrApiService\.(\w+)$/;

export interface WatchingProxy extends AsyncDisposable {
  readonly url: string;
  /** Operations that were answered with success since the last call of this. */
  takeAnswered(): Set<string>;
  /** What the model does not know, sentence by sentence. */
  readonly problems: readonly string[];
}

export async function watchingProxy(target: URL): Promise<WatchingProxy> {
  let answered = new Set<string>();
  const problems: string[] = [];
  const look = (incoming: IncomingMessage, status: number, text: string): void => {
    const [, operation] = AWS_TARGET.exec(String(incoming.headers['x-amz-target'])) ?? [];
    if (operation === undefined || status !== 200) return;
    answered.add(operation);
    try {
      checkAnswer(operation, JSON.parse(text));
    } catch (cause) {
      problems.push(`${operation}: ${cause}`);
    }
  };
  const server = createServer((incoming, outgoing) => {
    // Signatures cover the host header: it goes on as it came.
    const { method, headers } = incoming;
    const forward = httpRequest(target, { method, headers }, (answer) => {
      const parts: Buffer[] = [];
      answer.on('data', (part: Buffer) => parts.push(part));
      answer.on('end', () => {
        const body = Buffer.concat(parts);
        look(incoming, answer.statusCode ?? 0, body.toString());
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        outgoing.end(body);
      });
    });
    forward.on('error', () => outgoing.destroy());
    incoming.pipe(forward);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  // A server that listens on a port has an AddressInfo.
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    takeAnswered: () => {
      const taken = answered;
      answered = new Set();
      return taken;
    },
    problems,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
