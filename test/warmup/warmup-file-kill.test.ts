/** `kill -9` of a process that writes a warm-up file again and again. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as after } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readWarmupFile } from "../../src/warmup/warmup-file.js";
import { Random } from "../support/random.js";

const kills = 50;
/** A write of 1000 records takes some 10 ms. */
const maxDelayMs = 20;

/** Every file it writes holds 1000 times the number of its round. */
const program = `
  import { writeWarmupFile } from "./src/warmup/warmup-file.ts";
  import { predictRecord } from "./src/warmup/warmup-record.ts";
  const signatures = { serving_default: { methodName: "", inputs: { x: { dtype: "float32", shape: [1] } }, outputs: {} } };
  for (let round = 0; ; round++) {
    await writeWarmupFile(process.argv[2], Array(1000).fill(predictRecord("m", [round])), { signatures });
    process.stdout.write(".");
  }
`;

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(`${tmpdir()}/warmup-kill-`);
  const root = fileURLToPath(new URL("../..", import.meta.url));
  const options = { bundle: true, format: "esm", platform: "node", minify: true, outfile: join(folder, "writer.mjs") } as const;
  await build({ stdin: { contents: program, resolveDir: root, loader: "ts" }, ...options });
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Start the writer, and kill it while it writes its second file or a later one. */
async function writeAndKill(versionDir: string, delayMs: number): Promise<void> {
  const child = spawn(process.execPath, [join(folder, "writer.mjs"), versionDir], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  await after(delayMs);
  child.kill("SIGKILL");
  await once(child, "close");
}

/** Number of records in a file, and how many rounds they are of. */
async function recordsIn(path: string) {
  const rounds = new Set<unknown>();
  let records = 0;
  for await (const record of readWarmupFile(path)) {
    if (record.kind === "predict") rounds.add(record.inputs["x"]?.values[0]);
    records++;
  }
  return { records, rounds: rounds.size };
}

// Two at a time, since most of it is the start of a process.
it.concurrent.each([1, 2])(
  `leaves a whole file each of ${kills} times that it is killed: version %i`,
  { timeout: 120_000 },
  async (seed) => {
    const random = new Random(seed);
    const versionDir = mkdtempSync(`${folder}/`);
    const assets = join(versionDir, "assets.extra");
    for (let kill = 0; kill < kills; kill++) {
      await writeAndKill(versionDir, random.next() * maxDelayMs);
      expect(await recordsIn(join(assets, "tf_serving_warmup_requests")), `kill ${kill}`).toEqual({ records: 1000, rounds: 1 });
    }
    const halfWritten = readdirSync(assets).filter((name) => name.endsWith(".tmp"));
    expect(halfWritten.length, "kills in the middle of a file").toBeGreaterThan(kills / 10);
  },
);
