import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { CryptoError } from '../../src/crypto/errors.ts';
import { decodePem, encodePem } from '../../src/crypto/pem.ts';
import {
  checkIssued,
  generateEcKeyPair,
  issueCertificate,
  makeCsr,
  type Name,
  parseCsr,
  readCertificate,
  samePublicKey,
} from '../../src/crypto/x509.ts';
import { DAY_MS } from '../../src/kernel/clock.ts';
import type { EpochMs } from '../../src/kernel/types.ts';

const ROOT: Name = [
  ['C', 'DE'],
  ['O', 'Schlüsselhaus'],
  ['CN', 'Maker root'],
];
const MIDDLE: Name = [
  ['O', 'Keyark'],
  ['CN', 'Owner'],
];
const LEAF: Name = [
  ['C', 'US'],
  ['ST', 'CA'],
  ['O', 'Keyark'],
  ['OU', 'HSM'],
  ['CN', 'HSM:ABC'],
  ['serialNumber', 'KA-0001'],
];
// OpenSSL judges by the real day, so these stand around it.
const YESTERDAY = (Date.now() - DAY_MS) as EpochMs;
const IN_A_CENTURY = (Date.now() + 36_500 * DAY_MS) as EpochMs;
const refused = { name: 'CryptoError', code: 'CERTIFICATE' };
const hasOpenssl = spawnSync('openssl', ['version']).status === 0;

const rsaPair = () => generateKeyPairSync('rsa', { modulusLength: 2048 });
const KINDS = { 'P-256': generateEcKeyPair, RSA: rsaPair } as const;

function issue(
  subject: Name,
  subjectPublicKey: KeyObject,
  issuer: Name,
  issuerKey: KeyObject,
  rest: { isCa: boolean; pathLength?: number; serial?: Uint8Array },
): string {
  return issueCertificate({
    subject,
    subjectPublicKey,
    issuer,
    issuerKey,
    serial: Uint8Array.of(0x80, 1),
    notBefore: YESTERDAY,
    notAfter: IN_A_CENTURY,
    ...rest,
  });
}

function openssl(
  files: Record<string, string>,
  ...args: string[]
): { status: number; text: string } {
  const folder = mkdtempSync(join(tmpdir(), 'keyark-x509-'));
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    const { status, stdout, stderr } = spawnSync('openssl', args, {
      cwd: folder,
      encoding: 'utf8',
    });
    return { status: status ?? -1, text: stdout + stderr };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

for (const [rootKind, makeRoot] of Object.entries(KINDS)) {
  for (const [leafKind, makeLeaf] of Object.entries(KINDS)) {
    test(`a ${leafKind} chain under a ${rootKind} root passes openssl verify`, {
      skip: hasOpenssl ? false : 'openssl is not installed',
    }, () => {
      const [root, middle, leaf] = [makeRoot(), makeLeaf(), makeLeaf()];
      const files = {
        'root.pem': issue(ROOT, root.publicKey, ROOT, root.privateKey, { isCa: true }),
        'middle.pem': issue(MIDDLE, middle.publicKey, ROOT, root.privateKey, {
          isCa: true,
          pathLength: 0,
        }),
        'leaf.pem': issue(LEAF, leaf.publicKey, MIDDLE, middle.privateKey, { isCa: false }),
      };
      const strict = ['verify', '-x509_strict', '-CAfile', 'root.pem'];
      assert.equal(
        openssl(files, ...strict, '-untrusted', 'middle.pem', 'leaf.pem').text.trim(),
        'leaf.pem: OK',
      );
      assert.notEqual(openssl(files, ...strict, 'leaf.pem').status, 0);
      checkIssued(files['middle.pem'], files['root.pem']);
      checkIssued(files['leaf.pem'], files['middle.pem']);
      checkIssued(files['root.pem'], files['root.pem']);
      const shown = openssl(files, 'x509', '-in', 'leaf.pem', '-noout', '-text').text;
      assert.match(shown, /X509v3 Basic Constraints: critical\s+CA:FALSE/);
      assert.match(shown, /X509v3 Key Usage: critical\s+Digital Signature\n/);
    });
  }

  test(`a ${rootKind} request passes openssl req -verify, and openssl can sign it`, {
    skip: hasOpenssl ? false : 'openssl is not installed',
  }, () => {
    const [ca, holder] = [rsaPair(), makeRoot()];
    const csr = makeCsr({ subject: LEAF, key: holder.privateKey });
    const files = {
      'csr.pem': csr,
      'ca.key': String(ca.privateKey.export({ format: 'pem', type: 'pkcs8' })),
      'ca.pem': issue(ROOT, ca.publicKey, ROOT, ca.privateKey, { isCa: true }),
    };
    const verified = openssl(files, 'req', '-verify', '-noout', '-in', 'csr.pem');
    assert.equal(verified.status, 0);
    assert.match(verified.text, /verify OK/);
    const signing = [
      '-req',
      '-days',
      '30',
      '-CA',
      'ca.pem',
      '-CAkey',
      'ca.key',
      '-set_serial',
      '7',
    ];
    const signed = openssl(files, 'x509', ...signing, '-in', 'csr.pem');
    const pem = signed.text.slice(
      signed.text.indexOf('-----BEGIN'),
      signed.text.indexOf('-----END'),
    );
    const certificate = `${pem}-----END CERTIFICATE-----\n`;
    checkIssued(certificate, files['ca.pem']);
    assert.ok(samePublicKey(readCertificate(certificate).publicKey, holder.privateKey));
  });
}

test('parseCsr() reads what makeCsr() and openssl made', () => {
  const pair = generateEcKeyPair();
  const own = parseCsr(makeCsr({ subject: LEAF, key: pair.privateKey }));
  assert.deepEqual(own.subject, LEAF);
  assert.ok(samePublicKey(own.publicKey, pair.publicKey));
  if (!hasOpenssl) return;
  const args = ['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const made = openssl({}, ...args, '-keyout', 'k', '-utf8', '-subj', '/O=Häuser/CN=x');
  assert.deepEqual(parseCsr(made.text).subject, [
    ['O', 'Häuser'],
    ['CN', 'x'],
  ]);
});

test('parseCsr() refuses every flipped bit, every cut and bytes behind the end', () => {
  const pem = makeCsr({ subject: MIDDLE, key: generateEcKeyPair().privateKey });
  const der = decodePem('CERTIFICATE REQUEST', pem);
  const parse = (bytes: Uint8Array) => parseCsr(encodePem('CERTIFICATE REQUEST', bytes));
  parse(der);
  for (let bit = 0; bit < der.length * 8; bit += 1) {
    const forged = new Uint8Array(der);
    forged[bit >> 3] = forged[bit >> 3]! ^ (1 << (bit & 7));
    assert.throws(() => parse(forged), refused, `bit ${bit}`);
  }
  for (let length = 0; length < der.length; length += 1) {
    assert.throws(() => parse(der.subarray(0, length)), refused);
  }
  assert.throws(() => parse(Uint8Array.of(...der, 0)), refused);
});

test('parseCsr() and readCertificate() answer noise with CERTIFICATE, whatever it is', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.string(), (bytes, text) => {
      for (const attempt of [
        () => parseCsr(encodePem('CERTIFICATE REQUEST', bytes)),
        () => readCertificate(encodePem('CERTIFICATE', bytes)),
        () => parseCsr(text),
        () => readCertificate(text),
      ]) {
        assert.throws(attempt, (cause) => {
          return cause instanceof CryptoError && cause.code === 'CERTIFICATE';
        });
      }
    }),
  );
});

test('readCertificate() tells what issueCertificate() was told', () => {
  const { publicKey, privateKey } = generateEcKeyPair();
  const pem = issue(LEAF, publicKey, MIDDLE, privateKey, { isCa: true, pathLength: 3 });
  const facts = readCertificate(`Certificate:\n  some text\n${pem}`);
  assert.equal(facts.subject, LEAF.map((pair) => pair.join('=')).join('\n'));
  assert.equal(facts.issuer, MIDDLE.map((pair) => pair.join('=')).join('\n'));
  assert.equal(facts.isCa, true);
  assert.equal(facts.serial, '8001');
  assert.equal(facts.notBefore, Math.floor(YESTERDAY / 1_000) * 1_000);
  assert.equal(facts.notAfter, Math.floor(IN_A_CENTURY / 1_000) * 1_000);
  assert.ok(samePublicKey(facts.publicKey, publicKey));
});

test('readCertificate() refuses two certificates, other PEM and bytes behind the end', () => {
  const { publicKey, privateKey } = generateEcKeyPair();
  const pem = issue(MIDDLE, publicKey, MIDDLE, privateKey, { isCa: false });
  const longer = Uint8Array.of(...decodePem('CERTIFICATE', pem), 0);
  const csr = makeCsr({ subject: MIDDLE, key: privateKey });
  for (const bad of [pem + pem, csr, encodePem('CERTIFICATE', longer), '', 'x'.repeat(100_000)]) {
    assert.throws(() => readCertificate(bad), refused);
  }
});

test('checkIssued() refuses issuers that are no CA, have another key or another name', () => {
  const [root, other, leaf] = [generateEcKeyPair(), generateEcKeyPair(), generateEcKeyPair()];
  const child = issue(LEAF, leaf.publicKey, ROOT, root.privateKey, { isCa: false });
  const issuer = (name: Name, pair: typeof root, isCa: boolean) =>
    issue(name, pair.publicKey, name, pair.privateKey, { isCa });
  checkIssued(child, issuer(ROOT, root, true));
  assert.throws(() => checkIssued(child, issuer(ROOT, root, false)), refused);
  assert.throws(() => checkIssued(child, issuer(ROOT, other, true)), refused);
  assert.throws(() => checkIssued(child, issuer(MIDDLE, root, true)), refused);
});

test('issueCertificate() refuses terms that make no sense', () => {
  const { publicKey, privateKey } = generateEcKeyPair();
  const good = {
    subject: LEAF,
    issuer: MIDDLE,
    subjectPublicKey: publicKey,
    issuerKey: privateKey,
    serial: Uint8Array.of(1),
    notBefore: YESTERDAY,
    notAfter: IN_A_CENTURY,
    isCa: false,
  };
  assert.ok(new X509Certificate(issueCertificate(good)));
  for (const bad of [
    { serial: new Uint8Array(0) },
    { serial: new Uint8Array(4) },
    { serial: new Uint8Array(21).fill(1) },
    { serial: new Uint8Array(20).fill(0xff) },
    { notAfter: YESTERDAY },
    { pathLength: 0 },
    { isCa: true, pathLength: -1 },
    { issuer: [] },
    { subject: [['CN', '']] },
    { subject: [['CN', 'x'.repeat(65)]] },
    { subject: [['C', 'DEU']] },
    { subject: [['CN', 'a\0b']] },
    { subject: [['CN', '\ud800']] },
    { subject: [['serialNumber', 'ü']] },
  ] as const) {
    assert.throws(() => issueCertificate({ ...good, ...bad }), refused, JSON.stringify(bad));
  }
});

test('certificates are made for P-256 and RSA keys of 2048 bits up only', () => {
  const kind = { name: 'CryptoError', code: 'KEY_KIND' };
  for (const { publicKey, privateKey } of [
    generateKeyPairSync('ec', { namedCurve: 'P-384' }),
    generateKeyPairSync('ed25519'),
    generateKeyPairSync('rsa', { modulusLength: 1024 }),
  ]) {
    assert.throws(() => makeCsr({ subject: LEAF, key: privateKey }), kind);
    const { privateKey: caKey } = generateEcKeyPair();
    assert.throws(() => issue(LEAF, publicKey, ROOT, caKey, { isCa: false }), kind);
  }
});
