import { duplexPair } from 'node:stream';
import { connect } from 'node:tls';
import type { HsmId } from '../../src/kernel/ids.ts';
import { WirePeer } from '../../src/kernel/wire.ts';
import { ADMIN_PASSWORD, type World } from './world.ts';

/** Everything inside an HSM, line by line, as its admin compares it. */
export async function listing(world: World, hsmId: HsmId): Promise<readonly string[]> {
  const [inside, outside] = duplexPair();
  world.fleet.inside(hsmId).adopt(inside, 'officers');
  const line = connect({ socket: outside, minVersion: 'TLSv1.3', rejectUnauthorized: false });
  const peer = new WirePeer(line, new Map());
  try {
    await peer.call('login', { username: 'admin', role: 'admin', password: ADMIN_PASSWORD });
    let text = '';
    for await (const chunk of (await peer.call('compare', {})).body) text += Buffer.from(chunk);
    return text.trimEnd().split('\n');
  } finally {
    peer.close();
  }
}
