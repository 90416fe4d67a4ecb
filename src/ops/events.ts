/**
 * What happened, one typed event each: log line, metric and (later) audit record cannot drift apart.
 * Ids and counts only; nothing secret has a place here.
 */
export type ServiceEvent =
  | { readonly kind: 'serviceStarted'; readonly port: number }
  | { readonly kind: 'clusterState'; readonly clusterId: string; readonly state: string }
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
      readonly kind: 'restored';
      readonly backupId: string;
      readonly hsmId: string;
      readonly durationMs: number;
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
