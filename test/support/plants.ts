/** Keys and a user of a test's own, planted inside an HSM and used there. */
import assert from 'node:assert/strict';
import {
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  verify,
} from 'node:crypto';
import { listOf, textOf } from '../../src/cli/json.ts';
import { type Officer, withOfficer } from '../../src/cli/officers.ts';
import { formsOf, formsOfPem, formsOfText, type Planted } from './planted.ts';
import type { ReadyCluster } from './ready-cluster.ts';

const USER = 'planted_user_name';
const LABEL = 'planted-key-label';
const MESSAGE = Buffer.from('signed before and after');
const TAG_BYTES = 16;
const ENCODING = { type: 'pkcs8', format: 'pem' } as const;

export class Plants {
  readonly aes = randomBytes(32);
  readonly rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 })
    .privateKey.export(ENCODING)
    .toString();
  readonly ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    .privateKey.export(ENCODING)
    .toString();
  readonly password = `planted${randomBytes(9).toString('hex')}`;
  /** What may be known in memory, but rests nowhere in the clear. */
  readonly names: readonly Planted[] = [USER, LABEL].map((name) => ({
    name,
    bytes: Buffer.from(name),
  }));

  /** What must stay inside the HSM. */
  users(others: readonly string[] = []): readonly Planted[] {
    return [
      ...formsOf('AES key', this.aes),
      ...formsOfPem('RSA key', this.rsa),
      ...formsOfPem('EC key', this.ec),
      ...[this.password, ...others].flatMap((each, i) => formsOfText(`password ${i}`, each)),
    ];
  }

  async plant(cluster: ReadyCluster): Promise<void> {
    const admin = await cluster.customer.password('admin-password');
    await withOfficer(cluster, cluster.clusterId, async (officer) => {
      await officer.call('login', { username: 'admin', role: 'admin', password: admin });
      const user = { username: USER, role: 'crypto-user', password: this.password };
      await officer.call('user-create', user);
    });
    await this.#asUser(cluster, async (officer) => {
      const value = this.aes.toString('base64');
      await officer.call('key-import', { format: 'raw', type: 'aes', value, label: LABEL });
      for (const pem of [this.rsa, this.ec]) {
        await officer.call('key-import', { format: 'pkcs8-pem', pem, label: LABEL });
      }
    });
  }

  /** The HSM works with exactly these keys. */
  async use(cluster: ReadyCluster): Promise<void> {
    await this.#asUser(cluster, async (officer) => {
      const data = MESSAGE.toString('base64');
      const keys = listOf(await officer.call('key-list', { label: LABEL }), 'keys');
      const keyOf = (type: string, kind: string): string => {
        const found = keys.find((key) => key['type'] === type && key['class'] === kind);
        return textOf(found ?? {}, 'key');
      };
      for (const [type, mechanism, pem] of [
        ['rsa', 'SHA256_RSA_PKCS', this.rsa],
        ['ec', 'ECDSA_SHA256', this.ec],
      ] as const) {
        const key = keyOf(type, 'private-key');
        const signature = textOf(await officer.call('sign', { key, mechanism, data }), 'signature');
        const outside = createPublicKey(createPrivateKey(pem));
        assert.ok(verify('sha256', MESSAGE, outside, Buffer.from(signature, 'base64')), type);
      }
      const key = keyOf('aes', 'secret-key');
      const answer = await officer.call('encrypt', { key, mechanism: 'AES_GCM', data });
      const [sealed, iv] = [textOf(answer, 'data'), textOf(answer, 'iv')].map((text) =>
        Buffer.from(text, 'base64'),
      );
      assert.ok(sealed !== undefined && iv !== undefined);
      const outside = createDecipheriv('aes-256-gcm', this.aes, iv);
      outside.setAuthTag(sealed.subarray(-TAG_BYTES));
      const opened = [outside.update(sealed.subarray(0, -TAG_BYTES)), outside.final()];
      assert.deepEqual(Buffer.concat(opened), MESSAGE);
    });
  }

  #asUser(cluster: ReadyCluster, work: (officer: Officer) => Promise<void>): Promise<void> {
    const { password } = this;
    return withOfficer(cluster, cluster.clusterId, async (officer) => {
      await officer.call('login', { username: USER, role: 'crypto-user', password });
      await work(officer);
    });
  }
}
