/** The `keyark` command. Everything is in `src/cli`; this file only lends it the process. */
import { main } from '../src/cli/main.ts';

process.exitCode = await main(process.argv.slice(2));
