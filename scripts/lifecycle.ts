/**
 * `npm run lifecycle -- [--seconds 600] [--seed n]`: an embedded server whose models come, go, fail and move at random while it is called.
 *
 * Prints what happened; ends with status 1 if a model that has a version to load was not served, a version went from one state into another
 * that does not follow it, or a call was not answered.
 */
import { parseArgs } from "node:util";
import { runLifecycle } from "../test/server/lifecycle-run.js";
import { livingBytes } from "../test/support/memory.js";

const { values } = parseArgs({ options: { seconds: { type: "string", default: "600" }, seed: { type: "string" } } });
const seed = Number(values.seed ?? Date.now() % 2 ** 31);
const before = livingBytes();
console.log(`seed ${seed}, ${values.seconds} s`);
// That a base path is missing is part of it.
process.removeAllListeners("warning");
const report = await runLifecycle({ seed, durationMs: Number(values.seconds) * 1_000 });
const grownMb = (livingBytes().heap - before.heap) / 2 ** 20;
console.log(`${report.actions} actions, ${report.stateChanges} changes of state, heap ${grownMb.toFixed(1)} MB larger than before`);
for (const [kind, count] of Object.entries(report.calls).sort()) console.log(`${String(count).padStart(9)} ${kind}`);
for (const violation of report.violations.slice(0, 20)) console.error(violation);
console.log(`${report.violations.length} violations`);
if (report.violations.length > 0) process.exitCode = 1;
