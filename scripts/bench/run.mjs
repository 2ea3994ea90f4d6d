/** Bundle the benches the way the package is bundled, and run them with the given arguments. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("../..", import.meta.url));
// Inside the checkout, so that the bundle finds the dependencies.
const folder = mkdtempSync(`${root}node_modules/.bench-`);
try {
  const outfile = `${folder}/bench.mjs`;
  const entry = `${root}scripts/bench/main.ts`;
  await build({ entryPoints: [entry], outfile, bundle: true, format: "esm", platform: "node", target: "node20.19", packages: "external" });
  const { status } = spawnSync(process.execPath, [outfile, ...process.argv.slice(2)], { stdio: "inherit" });
  process.exitCode = status ?? 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
