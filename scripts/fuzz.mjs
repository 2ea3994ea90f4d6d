/**
 * `npm run fuzz -- --minutes N`: the random tests of test/fuzz with new seeds until the time is over; stops at the first failure, whose
 * seed stands in the output. @defaultValue 10 minutes
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({ options: { minutes: { type: "string", default: "10" } } });
const minutes = Number(options.minutes);
if (!(minutes > 0)) {
  console.error(`--minutes: expected a positive number, got ${options.minutes}`);
  process.exit(2);
}

const roundsPerSeed = 10_000;
const end = performance.now() + minutes * 60_000;
let seeds = 0;
while (performance.now() < end) {
  const env = { ...process.env, FUZZ_SEED: String(Date.now() >>> 0), FUZZ_ROUNDS: String(roundsPerSeed) };
  const vitest = spawnSync(process.execPath, ["node_modules/vitest/vitest.mjs", "run", "test/fuzz", "--testTimeout=300000"], {
    cwd: fileURLToPath(new URL("..", import.meta.url)),
    env,
    encoding: "utf8",
  });
  if (vitest.status !== 0) {
    console.error(`${vitest.stdout}${vitest.stderr}\nfailed with FUZZ_SEED=${env.FUZZ_SEED} FUZZ_ROUNDS=${env.FUZZ_ROUNDS}`);
    process.exit(1);
  }
  seeds++;
}
console.log(`${seeds} seeds, ${seeds * roundsPerSeed} rounds each test, 0 failures`);
