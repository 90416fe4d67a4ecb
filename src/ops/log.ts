/** Events as lines: JSON for machines, one readable line for people. Written to stderr by `serve`. */
import type { Clock } from '../kernel/clock.ts';
import { isoTime } from '../kernel/clock.ts';
import type { Events, ServiceEvent } from './events.ts';

export type LogFormat = 'json' | 'people';
export type LogLevel = 'error' | 'info' | 'debug';

const RANK: Record<LogLevel, number> = { error: 0, info: 1, debug: 2 };

const LEVEL_OF = {
  serviceStarted: 'info',
  clusterState: 'info',
  hsmState: 'info',
  backupStarted: 'info',
  backupProven: 'info',
  backupFailed: 'error',
  drilled: 'info',
  backupBroken: 'error',
  drillNotDone: 'error',
  deadlineMissed: 'error',
  deadlineMetAgain: 'info',
  heartbeat: 'info',
  restored: 'info',
  restoreState: 'info',
  copyStarted: 'info',
  copyProven: 'info',
  copyFailed: 'error',
  backupMarked: 'info',
  backupUndeleted: 'info',
  backupPurged: 'info',
  purgeFailed: 'error',
  holdSet: 'info',
  holdLifted: 'info',
  clockStepped: 'error',
  clockConfirmed: 'info',
  clockAdvanced: 'info',
  recovered: 'info',
  apiCall: 'debug',
  internalError: 'error',
} as const satisfies Record<ServiceEvent['kind'], LogLevel>;

export function createLog(options: {
  clock: Clock;
  format: LogFormat;
  level: LogLevel;
  write: (line: string) => void;
}): Events {
  const { clock, format, level, write } = options;
  return {
    emit(event) {
      const eventLevel = LEVEL_OF[event.kind];
      if (RANK[eventLevel] > RANK[level]) return;
      const time = isoTime(clock.now());
      write(
        format === 'json'
          ? `${JSON.stringify({ time, level: eventLevel, ...event })}\n`
          : `${time}  ${inWords(event)}\n`,
      );
    },
  };
}

function inWords(event: ServiceEvent): string {
  switch (event.kind) {
    case 'serviceStarted':
      return `listening on port ${event.port}`;
    case 'clusterState':
      return `${event.clusterId} is ${event.state}${event.why === undefined ? '' : `: ${event.why}`}`;
    case 'hsmState':
      return `${event.hsmId} of ${event.clusterId} is ${event.state}${event.why === undefined ? '' : `: ${event.why}`}`;
    case 'backupStarted':
      return `${event.backupId} of ${event.clusterId} begun (${event.cause})`;
    case 'backupProven':
      return `${event.backupId} of ${event.clusterId} is READY: proven in ${event.durationMs} ms, ${event.keys} keys, ${event.storedBytes} bytes stored`;
    case 'backupFailed':
      return `${event.backupId} of ${event.clusterId} FAILED: ${event.why}`;
    case 'drilled':
      return `${event.backupId} of ${event.clusterId} was opened again after its proof: ${event.outcome === 'opened' ? 'the same' : `FAILED: ${event.why}`}`;
    case 'backupBroken':
      return `${event.backupId} of ${event.clusterId} does not open any more: ${event.why}`;
    case 'drillNotDone':
      return `${event.backupId} could not be opened again for now, which says nothing about it: ${event.why}`;
    case 'deadlineMissed':
      return `${event.clusterId} MISSED its ${event.deadline} deadline: ${event.why}`;
    case 'deadlineMetAgain':
      return `${event.clusterId} is in time again: ${event.why}`;
    case 'heartbeat':
      return `heartbeat ${event.state}: ${event.why}`;
    case 'restored':
      return `${event.backupId} restored onto ${event.hsmId} in ${event.durationMs} ms`;
    case 'restoreState':
      return `${event.restoreId}: ${event.clusterId} from ${event.backupId} is ${event.state}${event.why === undefined ? '' : `: ${event.why}`}`;
    case 'copyStarted':
      return `${event.backupId} begun: a copy of ${event.sourceBackupId}, from ${event.fromRegion} to ${event.toRegion}`;
    case 'copyProven':
      return `${event.backupId} in ${event.region} is READY: ${event.sourceBackupId} copied and proven in ${event.durationMs} ms, ${event.storedBytes} bytes stored`;
    case 'copyFailed':
      return `${event.backupId ?? 'a copy by rule'} of ${event.sourceBackupId} to ${event.region} FAILED: ${event.why}`;
    case 'backupMarked':
      return `${event.backupId} of ${event.clusterId} goes at ${event.purgeAt} (${event.removal}, by ${event.by}): ${event.why}`;
    case 'backupUndeleted':
      return `${event.backupId} of ${event.clusterId} was brought back by ${event.by}`;
    case 'backupPurged':
      return `${event.backupId} of ${event.clusterId} is gone for good: ${event.parts} parts removed and found absent (${event.why})`;
    case 'purgeFailed':
      return `${event.backupId} of ${event.clusterId} could NOT be purged and will be tried again: ${event.why}`;
    case 'holdSet':
      return `${event.backupId} is held (${event.hold}${event.until === undefined ? '' : ` until ${event.until}`}) by ${event.by}: ${event.why}`;
    case 'holdLifted':
      return `the legal hold of ${event.backupId} was lifted by ${event.by}`;
    case 'clockStepped':
      return `the clock STEPPED by ${Math.round(event.byMs / 1000)} s ${event.how}: nothing is purged until \`keyark clock confirm\``;
    case 'clockConfirmed':
      return `the clock, which had stepped by ${Math.round(event.byMs / 1000)} s, was confirmed by ${event.by}: purging goes on`;
    case 'clockAdvanced':
      return `REHEARSAL: the service's time was moved by ${Math.round(event.byMs / 1000)} s to ${event.to} by ${event.by}`;
    case 'recovered':
      return `found after the start: ${event.what}, ${event.outcome}`;
    case 'apiCall':
      return `${event.operation} ${event.status} in ${event.durationMs} ms, request ${event.requestId}${event.accessKeyId === undefined ? '' : ` by ${event.accessKeyId} in ${event.region}`}${event.error === undefined ? '' : `: ${event.error}`}`;
    case 'internalError':
      return `internal error, request ${event.requestId}: ${event.message}`;
  }
}
