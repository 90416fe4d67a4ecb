/**
 * Calls, events and back-pressured byte streams over one duplex stream: the language of every wall
 * (control plane to host, host to HSM). Bounded everywhere: frames, chunks, calls and windows.
 *
 * Frame: `u32 length ‖ u8 kind ‖ u32 call ‖ payload`, length counts what follows it. JSON payloads are
 * UTF-8; chunks are raw. A side that reads a malformed frame ends the connection: nothing after it
 * could be trusted.
 */
import type { Duplex } from 'node:stream';
import { asBuffer, fromUtf8, toUtf8 } from './bytes.ts';
import { Broken, Failed, type FailureCode, type RefusalCode, Refused } from './errors.ts';
import type { JsonObject, JsonValue } from './types.ts';

export const CHUNK_BYTES = 64 * 1024;
const MAX_FRAME_BYTES = 1024 * 1024;
const WINDOW_CHUNKS = 16;
/** Events wait for nobody; a peer that lets this much pile up has stopped reading. */
const MAX_UNREAD_BYTES = 64 * 1024 * 1024;
const DEFAULT_MAX_CALLS = 1_024;
const LENGTH_BYTES = 4;
const HEADER_BYTES = 9;
const MAX_MESSAGE_CHARACTERS = 4_096;
const NOTHING = new Uint8Array(0);

const KIND = {
  REQUEST: 1,
  RESULT: 2,
  ERROR: 3,
  UP_CHUNK: 4,
  UP_END: 5,
  DOWN_CHUNK: 6,
  TRAILER: 7,
  UP_CREDIT: 8,
  DOWN_CREDIT: 9,
  EVENT: 10,
  CANCEL: 11,
  UP_ERROR: 12,
  DOWN_END: 13,
} as const;
type Kind = (typeof KIND)[keyof typeof KIND];

export interface WireRequest {
  readonly params: JsonObject;
  /** Empty when the caller sent none. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Aborts when the caller cancels or goes away. */
  readonly signal: AbortSignal;
}

export interface WireAnswer {
  readonly result: JsonObject;
  readonly body?: AsyncIterable<Uint8Array>;
  /** Asked for after the last chunk of `body`; the reader has the whole body while it is made. */
  readonly trailer?: () => JsonObject | Promise<JsonObject>;
}

export type WireHandler = (request: WireRequest) => Promise<WireAnswer>;

export interface WireReply {
  readonly result: JsonObject;
  /** Must be consumed to its end (or the call cancelled) when the method streams. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Resolves after the body; `{}` for a method that sends none. */
  readonly trailer: Promise<JsonObject>;
}

export interface WireLimits {
  /** Calls under way at once, in each direction; a peer that exceeds it loses the connection. */
  readonly calls: number;
}

export interface WireCallOptions {
  readonly body?: AsyncIterable<Uint8Array>;
  readonly signal?: AbortSignal;
}

/** A queue of chunks with a window: whoever produces waits until somebody consumed. */
class Inbox implements AsyncIterable<Uint8Array> {
  readonly #chunks: Uint8Array[] = [];
  readonly #onConsumed: () => void;
  readonly #onAbandoned: () => void;
  #end: 'open' | 'done' | Error = 'open';
  #wake: (() => void) | undefined;

  constructor(onConsumed: () => void, onAbandoned: () => void = () => {}) {
    this.#onConsumed = onConsumed;
    this.#onAbandoned = onAbandoned;
  }

  push(chunk: Uint8Array): boolean {
    if (this.#chunks.length >= WINDOW_CHUNKS) return false;
    if (this.#end === 'open') this.#chunks.push(chunk);
    this.#wake?.();
    return true;
  }

  finish(cause?: Error): void {
    if (this.#end === 'open') this.#end = cause ?? 'done';
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    try {
      for (;;) {
        const chunk = this.#chunks.shift();
        if (chunk !== undefined) {
          this.#onConsumed();
          yield chunk;
        } else if (this.#end === 'done') {
          return;
        } else if (this.#end !== 'open') {
          throw this.#end;
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      // A reader that breaks off early must not leave the sender waiting for credit for ever.
      if (this.#end === 'open') this.#onAbandoned();
    }
  }
}

/** Counts how many chunks may still be sent; waiting is how back-pressure feels. */
class Credit {
  #left = WINDOW_CHUNKS;
  #wake: (() => void) | undefined;
  #closed: Error | undefined;

  add(count: number): void {
    this.#left += count;
    this.#wake?.();
  }

  close(cause: Error): void {
    this.#closed ??= cause;
    this.#wake?.();
  }

  async take(): Promise<void> {
    while (this.#left === 0 && this.#closed === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#closed !== undefined) throw this.#closed;
    this.#left -= 1;
  }
}

/** One frame as its parts come in: each octet is moved once, into memory that the frame has for itself. */
class Arriving {
  readonly #prefix = Buffer.alloc(LENGTH_BYTES);
  #prefixFilled = 0;
  #frame: Buffer | undefined;
  #filled = 0;

  /** What the frame says that it has behind its length, as soon as that is known. */
  get length(): number | undefined {
    return this.#prefixFilled < LENGTH_BYTES ? undefined : this.#prefix.readUInt32BE(0);
  }

  /** Takes what it still needs. @returns how much that was. */
  take(data: Buffer, from: number): number {
    if (this.#prefixFilled < LENGTH_BYTES) {
      const count = data.copy(this.#prefix, this.#prefixFilled, from);
      this.#prefixFilled += count;
      return count;
    }
    // Not touched before it is filled, so that a mere announcement takes no memory.
    this.#frame ??= Buffer.allocUnsafeSlow(this.#prefix.readUInt32BE(0));
    const count = data.copy(this.#frame, this.#filled, from);
    this.#filled += count;
    return count;
  }

  /** The frame when it is all there; then the next one begins. */
  whole(): Buffer | undefined {
    const frame = this.#frame;
    if (frame === undefined || this.#filled < frame.length) return undefined;
    this.#frame = undefined;
    this.#filled = 0;
    this.#prefixFilled = 0;
    return frame;
  }
}

interface Outgoing {
  readonly resolve: (reply: WireReply) => void;
  readonly reject: (cause: Error) => void;
  readonly inbox: Inbox;
  readonly credit: Credit;
  readonly trailer: PromiseWithResolvers<JsonObject>;
  isAnswered: boolean;
  readonly forget: () => void;
}

interface Incoming {
  readonly inbox: Inbox;
  readonly credit: Credit;
  readonly abort: AbortController;
}

export class WirePeer {
  readonly #stream: Duplex;
  readonly #handlers: ReadonlyMap<string, WireHandler>;
  readonly #onEvent: (name: string, params: JsonObject) => void;
  readonly #maxCalls: number;
  readonly #outgoing = new Map<number, Outgoing>();
  readonly #incoming = new Map<number, Incoming>();
  readonly #closed = Promise.withResolvers<void>();
  #nextCall = 1;
  readonly #arriving = new Arriving();
  #closedBy: Error | undefined;
  #drained: Promise<void> | undefined;

  constructor(
    stream: Duplex,
    handlers: ReadonlyMap<string, WireHandler>,
    onEvent: (name: string, params: JsonObject) => void = () => {},
    limits: WireLimits = { calls: DEFAULT_MAX_CALLS },
  ) {
    this.#maxCalls = limits.calls;
    this.#stream = stream;
    this.#handlers = handlers;
    this.#onEvent = onEvent;
    stream.on('data', (data: Buffer) => this.#feed(data));
    stream.on('error', (cause) =>
      this.#shut(new Failed('CHANNEL', 'the connection broke', { cause })),
    );
    stream.on('end', () =>
      this.#shut(new Failed('CHANNEL', 'the other side ended the connection')),
    );
    stream.on('close', () => this.#shut(new Failed('CHANNEL', 'the connection closed')));
  }

  /** Resolves when the connection is gone, for whatever reason. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  get isClosed(): boolean {
    return this.#closedBy !== undefined;
  }

  /**
   * Calls a method on the other side.
   * @throws Refused, Failed as thrown over there; Failed `CHANNEL` when the connection goes.
   */
  call(method: string, params: JsonObject, options: WireCallOptions = {}): Promise<WireReply> {
    if (this.#closedBy !== undefined) return Promise.reject(this.#closedBy);
    if (this.#outgoing.size >= this.#maxCalls) {
      return Promise.reject(
        new Refused('LimitExceeded', `more than ${this.#maxCalls} calls under way`),
      );
    }
    const request = encodeFrame({ method, params });
    if (request === undefined) {
      return Promise.reject(new Refused('InvalidRequest', `the call "${method}" is too large`));
    }
    const call = this.#nextCall;
    this.#nextCall = call === 0xffff_ffff ? 1 : call + 1;
    const trailer = Promise.withResolvers<JsonObject>();
    // A caller that never looks at the trailer must not turn its failure into an unhandled rejection.
    trailer.promise.catch(() => {});
    return new Promise<WireReply>((resolve, reject) => {
      const onAbort = () => this.#cancel(call, options.signal?.reason);
      const entry: Outgoing = {
        resolve,
        reject,
        inbox: new Inbox(
          () => this.#send(KIND.DOWN_CREDIT, call, NOTHING),
          () => this.#cancel(call, 'the reader stopped'),
        ),
        credit: new Credit(),
        trailer,
        isAnswered: false,
        // A signal may outlive many calls: none of them may stay with it.
        forget: () => options.signal?.removeEventListener('abort', onAbort),
      };
      this.#outgoing.set(call, entry);
      void this.#send(KIND.REQUEST, call, request);
      options.signal?.addEventListener('abort', onAbort, { once: true });
      if (options.signal?.aborted) onAbort();
      void this.#upload(call, entry, options.body);
    });
  }

  /** Sends an event: no answer, no promise of delivery. */
  emit(name: string, params: JsonObject): void {
    const payload = encodeFrame({ name, params });
    if (payload === undefined) throw new Broken(`the event "${name}" is too large`);
    if (this.#stream.writableLength > MAX_UNREAD_BYTES) {
      this.#malformed('nothing and reads nothing');
      return;
    }
    void this.#send(KIND.EVENT, 0, payload);
  }

  close(): void {
    this.#shut(new Failed('CHANNEL', 'closed on this side'));
    this.#stream.end();
    this.#stream.destroy();
  }

  async #upload(call: number, entry: Outgoing, body?: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      for await (const part of body ?? []) {
        for (let at = 0; at < part.length; at += CHUNK_BYTES) {
          await entry.credit.take();
          await this.#send(KIND.UP_CHUNK, call, part.subarray(at, at + CHUNK_BYTES));
        }
      }
      await this.#send(KIND.UP_END, call, NOTHING);
    } catch (cause) {
      if (this.#outgoing.has(call) && this.#closedBy === undefined) {
        void this.#send(KIND.UP_ERROR, call, NOTHING);
        this.#fail(call, asError(cause));
      }
    }
  }

  #cancel(call: number, reason: unknown): void {
    if (!this.#outgoing.has(call)) return;
    void this.#send(KIND.CANCEL, call, NOTHING);
    this.#fail(call, new Failed('TIMEOUT', 'the call was cancelled', { cause: reason }));
  }

  #fail(call: number, cause: Error): void {
    const entry = this.#outgoing.get(call);
    if (entry === undefined) return;
    this.#outgoing.delete(call);
    entry.forget();
    entry.credit.close(cause);
    entry.inbox.finish(cause);
    entry.trailer.reject(cause);
    entry.reject(cause);
  }

  #shut(cause: Error): void {
    if (this.#closedBy !== undefined) return;
    this.#closedBy = cause;
    for (const call of [...this.#outgoing.keys()]) this.#fail(call, cause);
    for (const entry of this.#incoming.values()) {
      entry.abort.abort(cause);
      entry.credit.close(cause);
      entry.inbox.finish(cause);
    }
    this.#incoming.clear();
    this.#closed.resolve();
  }

  #feed(data: Buffer): void {
    for (let at = 0; at < data.length && this.#closedBy === undefined; ) {
      at += this.#arriving.take(data, at);
      const { length } = this.#arriving;
      if (
        length !== undefined &&
        (length < HEADER_BYTES - LENGTH_BYTES || length > MAX_FRAME_BYTES)
      ) {
        this.#malformed(`a frame of ${length} bytes`);
        return;
      }
      const frame = this.#arriving.whole();
      if (frame !== undefined)
        this.#receive(frame.readUInt8(0), frame.readUInt32BE(1), frame.subarray(5));
    }
  }

  #malformed(what: string): void {
    this.#shut(new Failed('CHANNEL', `the other side sent ${what}`));
    this.#stream.destroy();
  }

  #receive(kind: number, call: number, payload: Buffer): void {
    try {
      this.#dispatch(kind, call, payload);
    } catch {
      // Only parsing throws here; its text could repeat payload, so it is dropped.
      this.#malformed(`a malformed frame of kind ${kind}`);
    }
  }

  #dispatch(kind: number, call: number, payload: Buffer): void {
    const outgoing = this.#outgoing.get(call);
    const incoming = this.#incoming.get(call);
    switch (kind) {
      case KIND.REQUEST:
        this.#accept(call, parseObject(payload));
        return;
      case KIND.RESULT: {
        const { result, hasBody } = parseObject(payload);
        if (outgoing === undefined) return;
        if (outgoing.isAnswered) throw new TypeError('two answers to one call');
        outgoing.isAnswered = true;
        outgoing.resolve({
          result: asObject(result),
          body: outgoing.inbox,
          trailer: outgoing.trailer.promise,
        });
        if (hasBody !== true) this.#finish(call, outgoing, {});
        return;
      }
      case KIND.TRAILER:
        if (outgoing === undefined) return;
        if (!outgoing.isAnswered) throw new TypeError('a trailer before the answer');
        this.#finish(call, outgoing, parseObject(payload));
        return;
      case KIND.ERROR:
        this.#fail(call, decodeError(parseObject(payload)));
        return;
      case KIND.DOWN_CHUNK:
        if (outgoing !== undefined && !outgoing.inbox.push(bytesOf(payload))) {
          this.#malformed('more chunks than its window');
        }
        return;
      case KIND.DOWN_END:
        outgoing?.inbox.finish();
        return;
      case KIND.UP_CHUNK:
        if (incoming !== undefined && !incoming.inbox.push(bytesOf(payload))) {
          this.#malformed('more chunks than its window');
        }
        return;
      case KIND.UP_END:
        incoming?.inbox.finish();
        return;
      case KIND.UP_ERROR:
        incoming?.inbox.finish(new Failed('CHANNEL', 'the sender gave up half-way'));
        return;
      case KIND.UP_CREDIT:
        outgoing?.credit.add(1);
        return;
      case KIND.DOWN_CREDIT:
        incoming?.credit.add(1);
        return;
      case KIND.CANCEL: {
        const cause = new Failed('TIMEOUT', 'the caller cancelled');
        incoming?.abort.abort(cause);
        incoming?.credit.close(cause);
        incoming?.inbox.finish(cause);
        return;
      }
      case KIND.EVENT: {
        const { name, params } = parseObject(payload);
        this.#onEvent(String(name), asObject(params));
        return;
      }
      default:
        this.#malformed(`a frame of unknown kind ${kind}`);
    }
  }

  #finish(call: number, entry: Outgoing, trailer: JsonObject): void {
    this.#outgoing.delete(call);
    entry.forget();
    entry.credit.close(new Failed('CHANNEL', 'the call has ended'));
    entry.inbox.finish();
    entry.trailer.resolve(trailer);
  }

  #accept(call: number, request: JsonObject): void {
    if (this.#incoming.has(call) || this.#incoming.size >= this.#maxCalls) {
      this.#malformed('a call id twice, or too many calls');
      return;
    }
    const entry: Incoming = {
      inbox: new Inbox(() => this.#send(KIND.UP_CREDIT, call, NOTHING)),
      credit: new Credit(),
      abort: new AbortController(),
    };
    this.#incoming.set(call, entry);
    void this.#serve(call, entry, String(request['method']), asObject(request['params']));
  }

  async #serve(call: number, entry: Incoming, method: string, params: JsonObject): Promise<void> {
    try {
      const handler = this.#handlers.get(method);
      if (handler === undefined)
        throw new Refused('InvalidRequest', `there is no call "${method}"`);
      const answer = await handler({ params, body: entry.inbox, signal: entry.abort.signal });
      const hasBody = answer.body !== undefined;
      // Awaited, so that a caller who does not read keeps its calls under way, which are bounded.
      await this.#sendJson(KIND.RESULT, call, { result: answer.result, hasBody });
      if (answer.body !== undefined) {
        for await (const part of answer.body) {
          for (let at = 0; at < part.length; at += CHUNK_BYTES) {
            await entry.credit.take();
            await this.#send(KIND.DOWN_CHUNK, call, part.subarray(at, at + CHUNK_BYTES));
          }
        }
        await this.#send(KIND.DOWN_END, call, NOTHING);
        await this.#sendJson(KIND.TRAILER, call, (await answer.trailer?.()) ?? {});
      }
    } catch (cause) {
      await this.#sendJson(KIND.ERROR, call, encodeError(cause));
    } finally {
      this.#incoming.delete(call);
    }
  }

  /** @throws Failed `CHANNEL` for what fits no frame; the call fails, the connection lives. */
  async #sendJson(kind: Kind, call: number, value: JsonObject): Promise<void> {
    const payload = encodeFrame(value);
    if (payload === undefined) throw new Failed('CHANNEL', 'the message is too large');
    await this.#send(kind, call, payload);
  }

  /** Resolves when the stream has room again. */
  #send(kind: Kind, call: number, payload: Uint8Array): Promise<void> {
    if (this.#closedBy !== undefined || this.#stream.destroyed) return Promise.resolve();
    // A copy: the caller may reuse its buffer before the kernel has taken the bytes.
    const frame = Buffer.allocUnsafeSlow(HEADER_BYTES + payload.length);
    frame.writeUInt32BE(frame.length - LENGTH_BYTES, 0);
    frame.writeUInt8(kind, 4);
    frame.writeUInt32BE(call, 5);
    frame.set(payload, HEADER_BYTES);
    const hasRoom = this.#stream.write(frame);
    return hasRoom ? Promise.resolve() : this.#room();
  }

  /** One wait for all senders: each would otherwise hang its own listeners on the stream. */
  #room(): Promise<void> {
    this.#drained ??= new Promise<void>((resolve) => {
      const done = () => {
        this.#stream.off('drain', done);
        this.#stream.off('close', done);
        this.#drained = undefined;
        resolve();
      };
      this.#stream.on('drain', done);
      this.#stream.on('close', done);
    });
    return this.#drained;
  }
}

/** A frame has its memory for itself, so a chunk need not be copied out of it. */
function bytesOf(payload: Buffer): Uint8Array {
  return new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength);
}

function parseObject(payload: Uint8Array): JsonObject {
  return asObject(JSON.parse(toUtf8(asBuffer(payload))) as JsonValue);
}

function asObject(value: JsonValue | undefined): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TypeError('not an object');
  }
  // Arrays and null are excluded above; what is left of JsonValue is an object.
  return value as JsonObject;
}

function asError(cause: unknown): Error {
  return cause instanceof Error ? cause : new Failed('CHANNEL', String(cause));
}

/** Undefined when it is too large for one frame. */
function encodeFrame(value: JsonObject): Uint8Array | undefined {
  const payload = fromUtf8(JSON.stringify(value));
  return payload.length + HEADER_BYTES > MAX_FRAME_BYTES ? undefined : payload;
}

/** Only code and text of our own two kinds cross a wall; anything else is told as an internal error. */
function encodeError(cause: unknown): JsonObject {
  const told = (kind: string, { code, message }: Refused | Failed): JsonObject => {
    return { kind, code, message: message.slice(0, MAX_MESSAGE_CHARACTERS) };
  };
  if (cause instanceof Refused) return told('refused', cause);
  if (cause instanceof Failed) return told('failed', cause);
  return { kind: 'failed', code: 'HSM_ERROR', message: 'internal error on the other side' };
}

function decodeError(value: JsonObject): Error {
  const message = String(value['message']);
  // Codes are checked by their users' switches; an unknown one from a newer peer is still told.
  return value['kind'] === 'refused'
    ? new Refused(String(value['code']) as RefusalCode, message)
    : new Failed(String(value['code']) as FailureCode, message);
}
