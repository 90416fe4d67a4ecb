/** The control plane as a process of its own, started by root's supervisor (src/serve.ts). */
import { type ServeConfig, serveUntilStopped } from '../src/serve.ts';

// The supervisor passes on the configuration it parsed itself.
const config = JSON.parse(process.argv[2] ?? '') as ServeConfig;
process.exitCode = await serveUntilStopped(config);
