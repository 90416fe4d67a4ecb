/**
 * What happened, one typed event each: log line, metric and (later) audit record cannot drift apart.
 * Ids and counts only; nothing secret has a place here.
 */
export type ServiceEvent =
  | { readonly kind: 'serviceStarted'; readonly port: number }
  | {
      readonly kind: 'clusterState';
      readonly clusterId: string;
      readonly state: string;
      readonly why?: string;
    }
  | {
      readonly kind: 'hsmState';
      readonly hsmId: string;
      readonly clusterId: string;
      readonly state: string;
      readonly why?: string;
    }
  | {
      readonly kind: 'backupStarted';
      readonly backupId: string;
      readonly clusterId: string;
      readonly cause: string;
    }
  | {
      readonly kind: 'backupProven';
      readonly backupId: string;
      readonly clusterId: string;
      readonly durationMs: number;
      readonly keys: number;
      readonly storedBytes: number;
    }
  | {
      readonly kind: 'backupFailed';
      readonly backupId: string;
      readonly clusterId: string;
      readonly why: string;
    }
  | {
      readonly kind: 'drilled';
      readonly backupId: string;
      readonly clusterId: string;
      readonly outcome: 'opened' | 'failed';
      readonly durationMs: number;
      readonly why?: string;
    }
  /** A restore found it lost or damaged. */
  | {
      readonly kind: 'backupBroken';
      readonly backupId: string;
      readonly clusterId: string;
      readonly why: string;
    }
  /** The world, not the backup, was the reason: nothing is known about the backup. */
  | { readonly kind: 'drillNotDone'; readonly backupId: string; readonly why: string }
  | {
      readonly kind: 'deadlineMissed' | 'deadlineMetAgain';
      readonly clusterId: string;
      readonly deadline: 'floor' | 'change';
      readonly why: string;
    }
  | {
      readonly kind: 'heartbeat';
      readonly state: 'sent' | 'withheld' | 'unreachable';
      readonly why: string;
    }
  | {
      readonly kind: 'restored';
      readonly backupId: string;
      readonly hsmId: string;
      readonly durationMs: number;
    }
  | {
      readonly kind: 'restoreState';
      readonly restoreId: string;
      readonly clusterId: string;
      readonly backupId: string;
      readonly state: string;
      readonly why?: string;
    }
  | {
      readonly kind: 'copyStarted';
      readonly backupId: string;
      readonly sourceBackupId: string;
      readonly fromRegion: string;
      readonly toRegion: string;
    }
  | {
      readonly kind: 'copyProven';
      readonly backupId: string;
      readonly sourceBackupId: string;
      readonly region: string;
      readonly durationMs: number;
      readonly storedBytes: number;
    }
  | {
      readonly kind: 'copyFailed';
      /** Absent when a rule's copy could not even begin. */
      readonly backupId?: string;
      readonly sourceBackupId: string;
      readonly region: string;
      readonly why: string;
    }
  /** Marked to go: by somebody, by retention or by thinning. */
  | {
      readonly kind: 'backupMarked';
      readonly backupId: string;
      readonly clusterId: string;
      readonly removal: string;
      readonly why: string;
      readonly by: string;
      readonly purgeAt: string;
    }
  | {
      readonly kind: 'backupUndeleted';
      readonly backupId: string;
      readonly clusterId: string;
      readonly by: string;
    }
  /** Really gone: each part was looked for afterwards and is absent. */
  | {
      readonly kind: 'backupPurged';
      readonly backupId: string;
      readonly clusterId: string;
      readonly parts: number;
      readonly why: string;
    }
  | {
      readonly kind: 'purgeFailed';
      readonly backupId: string;
      readonly clusterId: string;
      readonly why: string;
    }
  | {
      readonly kind: 'holdSet';
      readonly backupId: string;
      readonly hold: string;
      readonly until?: string;
      readonly why: string;
      readonly by: string;
    }
  | { readonly kind: 'holdLifted'; readonly backupId: string; readonly by: string }
  | { readonly kind: 'clockStepped'; readonly byMs: number; readonly how: string }
  | { readonly kind: 'clockConfirmed'; readonly byMs: number; readonly by: string }
  /** On a rehearsal only. */
  | {
      readonly kind: 'clockAdvanced';
      readonly byMs: number;
      readonly to: string;
      readonly by: string;
    }
  | { readonly kind: 'recovered'; readonly what: string; readonly outcome: string }
  | {
      readonly kind: 'apiCall';
      readonly operation: string;
      readonly status: number;
      readonly durationMs: number;
      readonly requestId: string;
      /** Whose, where and with which key; absent when the signature was not accepted. */
      readonly account?: string;
      readonly region?: string;
      readonly accessKeyId?: string;
      readonly error?: string;
    }
  | { readonly kind: 'internalError'; readonly requestId: string; readonly message: string };

export interface Events {
  emit(event: ServiceEvent): void;
}
