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
  restored: 'info',
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
      return `${event.clusterId} is ${event.state}`;
    case 'hsmState':
      return `${event.hsmId} of ${event.clusterId} is ${event.state}${event.why === undefined ? '' : `: ${event.why}`}`;
    case 'backupStarted':
      return `${event.backupId} of ${event.clusterId} begun (${event.cause})`;
    case 'backupProven':
      return `${event.backupId} of ${event.clusterId} is READY: proven in ${event.durationMs} ms, ${event.keys} keys, ${event.storedBytes} bytes stored`;
    case 'backupFailed':
      return `${event.backupId} of ${event.clusterId} FAILED: ${event.why}`;
    case 'restored':
      return `${event.backupId} restored onto ${event.hsmId} in ${event.durationMs} ms`;
    case 'recovered':
      return `found after the start: ${event.what}, ${event.outcome}`;
    case 'apiCall':
      return `${event.operation} ${event.status} in ${event.durationMs} ms, request ${event.requestId}${event.accessKeyId === undefined ? '' : ` by ${event.accessKeyId} in ${event.region}`}${event.error === undefined ? '' : `: ${event.error}`}`;
    case 'internalError':
      return `internal error, request ${event.requestId}: ${event.message}`;
  }
}
