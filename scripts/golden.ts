/**
 * Sends every exchange recorded from a real model server to the embedded one and compares the answers.
 *
 *     tsx scripts/golden.ts            prints what differs; the last line counts
 */
import { runGolden } from "../test/server/golden-all.js";
import type { Outcome } from "../test/server/golden-run.js";
import { runWarmup } from "../test/server/golden-servers.js";

function summary(outcomes: readonly Outcome[]): string {
  const count = (result: string) => outcomes.filter((outcome) => outcome.result === result).length;
  return `${count("passed")} passed, ${count("failed")} failed, ${count("not run")} not run`;
}

const exchanges = await runGolden();
const warmup = await runWarmup();
for (const { id, result, reason } of [...exchanges, ...warmup]) if (result !== "passed") console.log(`${result}: ${id}: ${reason}`);
console.log(`warm-up files: ${summary(warmup)}`);
console.log(summary(exchanges));
if ([...exchanges, ...warmup].some(({ result }) => result === "failed")) process.exitCode = 1;
