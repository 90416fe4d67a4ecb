/** What each of the host's calls is given and answers, by its row in `SHAPES` and in the protocol. */
import type { JsonObject } from '../kernel/types.ts';
import type { SHAPES } from './messages.ts';
import type { Parsed } from './params.ts';
import type { HsmCall, HsmCalls } from './protocol.ts';

export type Params<Call extends HsmCall> = Parsed<(typeof SHAPES)[Call]>;
export type Answers = {
  readonly [Call in HsmCall]: (request: Request<Call>) => Promise<Answer<Call>>;
};
interface Request<Call extends HsmCall> {
  readonly params: Params<Call>;
  readonly body: AsyncIterable<Uint8Array>;
}
export interface Answer<Call extends HsmCall> {
  readonly result: HsmCalls[Call]['result'];
  readonly body?: AsyncIterable<Uint8Array>;
  readonly trailer?: () => Promise<JsonObject>;
}
