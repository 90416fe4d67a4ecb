/** The host's end of one HSM's fd 3: the calls of the protocol, typed. */
import type { HsmCall, HsmCalls } from '../hsm/protocol.ts';
import { Failed } from '../kernel/errors.ts';
import type { JsonObject } from '../kernel/types.ts';
import type { WireCallOptions, WirePeer, WireReply } from '../kernel/wire.ts';

export class HsmLine {
  readonly peer: WirePeer;
  readonly #name: string;

  constructor(peer: WirePeer, name: string) {
    this.peer = peer;
    this.#name = name;
  }

  /** A call without a body. @throws Refused, Failed as the HSM said; Failed `HSM_GONE`. */
  async call<Call extends HsmCall>(
    call: Call,
    params: HsmCalls[Call]['params'],
  ): Promise<HsmCalls[Call]['result']> {
    // The protocol's types are JSON by law; interfaces cannot say so by themselves.
    const reply = await this.relay(call, params as unknown as JsonObject);
    // The HSM is our own program, hash-checked, and answers in the protocol's types.
    return reply.result as unknown as HsmCalls[Call]['result'];
  }

  /** A call whose content only passes through. */
  async relay(call: HsmCall, params: JsonObject, options?: WireCallOptions): Promise<WireReply> {
    try {
      return await this.peer.call(call, params, options);
    } catch (cause) {
      throw this.translate(cause);
    }
  }

  /** A connection that broke means one thing here: the process is gone. */
  translate(cause: unknown): unknown {
    if (cause instanceof Failed && cause.code === 'CHANNEL' && this.peer.isClosed) {
      return new Failed('HSM_GONE', `${this.#name} died during the call`, { cause });
    }
    return cause;
  }
}
