/**
 * Holds what it reads from stdin in its memory, passes it on to stdout in pieces, says `HELD` on stderr and
 * stays: the place where a search has to find something.
 */
import { once } from 'node:events';
import { readFileSync, writeSync } from 'node:fs';

const PIECE_BYTES = 1_000;

// In the way of all content: one buffer, as a service would have it.
const held = readFileSync(0);
process.once('SIGUSR2', () => {
  for (let at = 0; at < held.length; at += PIECE_BYTES) {
    writeSync(1, held.subarray(at, at + PIECE_BYTES));
  }
  writeSync(2, `PASSED ON ${held.length}\n`);
});
writeSync(2, 'HELD\n');
setInterval(() => {}, 60_000);
await once(process, 'SIGTERM');
process.exit();
