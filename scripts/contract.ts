/**
 * Run the contract suite over the embedded server, and over a real one where TFSERVING_GRPC or TFSERVING_REST name it.
 *
 *     tsx scripts/contract.ts            runs it; more arguments go to Vitest
 *     tsx scripts/contract.ts --list     prints the cases, runs nothing
 */
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { appliesOver, titleOf } from "../test/transport/contract.js";
import { contractCases } from "../test/transport/contract-cases/all-cases.js";
import { embeddedTargets } from "../test/transport/contract-targets.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

function list(): void {
  const methods = [...new Set(contractCases.map(({ method }) => method))];
  const byMethod = methods.flatMap((method) => contractCases.filter((test) => test.method === method));
  for (const test of byMethod) console.log(titleOf(test));
  const perTransport = embeddedTargets.map(({ transport }) => {
    const count = contractCases.filter((test) => appliesOver(transport, test)).length;
    return `${transport} ${count}`;
  });
  console.log(`\n${contractCases.length} cases; over ${embeddedTargets.length} transports: ${perTransport.join(", ")}`);
}

function run(more: readonly string[]): number {
  const vitest = join(dirname(createRequire(import.meta.url).resolve("vitest/package.json")), "vitest.mjs");
  const files = ["test/transport/contract", "test/interop/real-server"];
  return spawnSync(process.execPath, [vitest, "run", ...files, ...more], { cwd: root, stdio: "inherit" }).status ?? 1;
}

const args = process.argv.slice(2);
if (args.includes("--list")) list();
else process.exitCode = run(args);
