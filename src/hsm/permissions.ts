/**
 * Who may make which call at the officers' door: one table, total in both directions. A call that is
 * missing here does not compile; a role that is missing in a row neither.
 *
 * The appliance user exists for the service's own work and has no right at any door; the unactivated
 * admin can't log in, so only `activate` (made by nobody) reaches it.
 */
import { Refused } from '../kernel/errors.ts';
import type { Role } from './protocol.ts';
import type { Login } from './sessions.ts';

/** `nobody`: a session without a login. */
export type Caller = Role | 'nobody';
type Row = Readonly<Record<Caller, boolean>>;

const NOBODY_KNOWN: Row = {
  nobody: false,
  'unactivated-admin': false,
  admin: false,
  'crypto-user': false,
  'appliance-user': false,
};
const ANYONE: Row = { ...NOBODY_KNOWN, nobody: true, admin: true, 'crypto-user': true };
const STRANGERS: Row = { ...NOBODY_KNOWN, nobody: true };
const MEMBERS: Row = { ...NOBODY_KNOWN, admin: true, 'crypto-user': true };
const ADMINS: Row = { ...NOBODY_KNOWN, admin: true };
const CRYPTO_USERS: Row = { ...NOBODY_KNOWN, 'crypto-user': true };

export const PERMISSIONS = {
  info: ANYONE,
  'user-list': ANYONE,
  'policy-list': ANYONE,
  activate: STRANGERS,
  /** A session that has a login is told to log out first, which is no question of rights. */
  login: ANYONE,
  logout: MEMBERS,
  'user-create': ADMINS,
  'user-delete': ADMINS,
  /** Everybody their own, an admin everybody's. */
  'user-change-password': MEMBERS,
  'policy-set': ADMINS,
  audit: ADMINS,
  compare: ADMINS,
  /** Names and labels of what a restore would change; others see counts. */
  'plan-read': ADMINS,
  'key-generate-symmetric': CRYPTO_USERS,
  'key-generate-pair': CRYPTO_USERS,
  'key-generate-many': CRYPTO_USERS,
  'key-import': CRYPTO_USERS,
  'object-import': CRYPTO_USERS,
  /** An admin sees that keys exist and marks wrapping keys trusted; using them is beyond an admin. */
  'key-list': MEMBERS,
  'key-get': MEMBERS,
  'key-set-attribute': MEMBERS,
  'key-delete': CRYPTO_USERS,
  'key-share': CRYPTO_USERS,
  'key-unshare': CRYPTO_USERS,
  sign: CRYPTO_USERS,
  verify: CRYPTO_USERS,
  encrypt: CRYPTO_USERS,
  decrypt: CRYPTO_USERS,
} as const satisfies Record<string, Row>;

export type OfficerCall = keyof typeof PERMISSIONS;

/** @throws Refused `AccessDenied`, saying who may. */
export function checkPermitted(call: OfficerCall, login: Login | null): void {
  const row: Row = PERMISSIONS[call];
  const caller: Caller = login?.role ?? 'nobody';
  if (row[caller]) return;
  const permitted = Object.entries(row).flatMap(([role, may]) =>
    may && role !== 'nobody' ? [role] : [],
  );
  const now =
    login === null ? 'nobody is logged in' : `${login.name} is logged in as ${login.role}`;
  throw new Refused(
    'AccessDenied',
    permitted.length === 0
      ? `${call} is for sessions without a login, and ${now}.`
      : `${call} is for ${permitted.join(' and ')}, and ${now} on this session.`,
  );
}
