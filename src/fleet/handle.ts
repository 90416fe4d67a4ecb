/** One HSM as the control plane holds it: the protocol's calls, carried by whoever reaches its host. */
import type {
  ExerciseOutcome,
  Hello,
  HsmCall,
  HsmCalls,
  OpenOutcome,
  PlanOutcome,
  PlanSide,
  ProofClaims,
  ProofStatement,
  SealOutcome,
  SealStatement,
  Signed,
} from '../hsm/protocol.ts';
import type { BackupId } from '../kernel/ids.ts';
import type { JsonObject } from '../kernel/types.ts';
import type { WireCallOptions, WireReply } from '../kernel/wire.ts';
import type { DrillHsm, HsmHandle, OpenRequest, Sealing } from './fleet.ts';

/** Which HSM a call is for. */
export type Target = { readonly hsmId: string } | { readonly drillId: string };

/** A call to the host. @throws Refused, Failed as said over there; Failed `HOST_GONE`. */
export type Reach = (
  method: string,
  params: JsonObject,
  options?: WireCallOptions,
) => Promise<WireReply>;

class Caller {
  readonly #reach: Reach;
  readonly #target: Target;

  constructor(reach: Reach, target: Target) {
    this.#reach = reach;
    this.#target = target;
  }

  async call<Call extends HsmCall>(
    call: Call,
    params: HsmCalls[Call]['params'],
    options?: WireCallOptions,
  ): Promise<HsmCalls[Call]['result']> {
    const reply = await this.relay(call, params, options);
    // The host runs our own hash-checked HSM, which answers in the protocol's types.
    return reply.result as unknown as HsmCalls[Call]['result'];
  }

  relay<Call extends HsmCall>(
    call: Call,
    params: HsmCalls[Call]['params'],
    options?: WireCallOptions,
  ): Promise<WireReply> {
    // Params are JSON by the protocol's law; interfaces cannot say so by themselves.
    const inner = params as unknown as JsonObject;
    return this.#reach('hsm', { ...this.#target, call, params: inner }, options);
  }

  open({ sealRecord, body, as, type, mode }: OpenRequest): Promise<OpenOutcome> {
    return this.call('open', { sealRecord, as, type, mode }, { body });
  }
}

export class RemoteHsm implements HsmHandle {
  readonly #caller: Caller;
  readonly #reach: Reach;
  readonly #target: Target;

  constructor(reach: Reach, target: Target) {
    this.#caller = new Caller(reach, target);
    this.#reach = reach;
    this.#target = target;
  }

  hello(): Promise<Hello> {
    return this.#caller.call('hello', {});
  }

  certify(as: HsmCalls['certify']['params']): Promise<Hello> {
    return this.#caller.call('certify', as);
  }

  install(certificates: HsmCalls['install']['params']): Promise<Hello> {
    return this.#caller.call('install', certificates);
  }

  async seal(backupId: BackupId, signal?: AbortSignal): Promise<Sealing> {
    const options = signal === undefined ? {} : { signal };
    const { body, trailer } = await this.#caller.relay('seal', { backupId }, options);
    // The trailer of `seal` in the protocol.
    const outcome = trailer.then((value) => value as unknown as SealOutcome);
    // Whoever consumes the body meets the same failure there, perhaps before looking here.
    outcome.catch(() => {});
    return { body, outcome };
  }

  open(request: OpenRequest): Promise<OpenOutcome> {
    return this.#caller.open(request);
  }

  digest(): Promise<HsmCalls['digest']['result']> {
    return this.#caller.call('digest', {});
  }

  keysNewerThan(generation: number): Promise<HsmCalls['keys-newer-than']['result']> {
    return this.#caller.call('keys-newer-than', { generation });
  }

  async limit(frozenBecause: string | null): Promise<void> {
    await this.#reach('limit', { ...this.#target, frozenBecause });
  }
}

export class RemoteDrill implements DrillHsm {
  readonly serial: string;
  readonly #caller: Caller;
  readonly #end: () => Promise<void>;

  constructor(reach: Reach, drill: { drillId: string; serial: string }, end: () => Promise<void>) {
    this.serial = drill.serial;
    this.#caller = new Caller(reach, { drillId: drill.drillId });
    this.#end = end;
  }

  open(request: OpenRequest): Promise<OpenOutcome> {
    return this.#caller.open(request);
  }

  exercise(): Promise<ExerciseOutcome> {
    return this.#caller.call('exercise', {});
  }

  keep(): Promise<PlanSide> {
    return this.#caller.call('keep', {});
  }

  plan(): Promise<PlanOutcome> {
    return this.#caller.call('plan', {});
  }

  prove(claims: ProofClaims, seal: Signed<SealStatement>): Promise<Signed<ProofStatement>> {
    return this.#caller.call('prove', { claims, seal });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#end();
  }
}
