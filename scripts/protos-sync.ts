/** `npm run protos:sync -- --tensorflow X --serving Y`: `tfserving protos sync` from the sources. */
import { run } from "../src/cli/main.js";

process.exitCode = await run(["protos", "sync", ...process.argv.slice(2)], process);
