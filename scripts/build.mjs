/**
 * Build `dist/`: one bundled ES module per entry (shared code in chunks, dependencies external), and the type declarations.
 *
 * Both parts are made in a temporary folder and put in place together, so that a failed build leaves the old one.
 */
import { spawnSync } from "node:child_process";
import { existsSync, renameSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const fresh = `${root}dist.new`;

rmSync(fresh, { recursive: true, force: true });
try {
  await build({
    absWorkingDir: root,
    entryPoints: { index: "src/index.ts", server: "src/server/index.ts", example: "src/example.ts", proto: "src/proto.ts" },
    outdir: fresh,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20.19",
    packages: "external",
    chunkNames: "chunks/[name]-[hash]",
    logLevel: "warning",
  });
  const tsc = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json", "--outDir", `${fresh}/types`], {
    cwd: root,
    stdio: "inherit",
  });
  if (tsc.status !== 0) throw new Error(`tsc ended with status ${tsc.status}`);
  rmSync(`${root}dist`, { recursive: true, force: true });
  renameSync(fresh, `${root}dist`);
} finally {
  if (existsSync(fresh)) rmSync(fresh, { recursive: true, force: true });
}
