/** `scripts/render-protos.ts` as a process of its own. */
import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { hashProtoTree, readLock, writeLock } from "../../../src/codegen/protos/lock.js";

const script = fileURLToPath(new URL("../../../scripts/render-protos.ts", import.meta.url));
const timeoutMs = 60_000;
const roots = ["b.proto"];

let out: string;

beforeEach(async () => {
  out = await mkdtemp(join(tmpdir(), "tfserving-render-"));
  await writeFile(join(out, "a.proto"), 'syntax = "proto3";\n');
  const files = await hashProtoTree(out);
  await writeLock(out, { tensorflow: "2.20.0", serving: "2.20.0", origin: "directory", roots, wireDigest: "0".repeat(64), files });
  await writeFile(join(out, "facts.json"), JSON.stringify({ file: [{ name: "b.proto", package: "tensorflow", syntax: "proto3" }] }));
});
afterEach(() => rm(out, { recursive: true, force: true }));

function render(...more: string[]): Promise<unknown> {
  const tsx = ["--import", import.meta.resolve("tsx")];
  return promisify(execFile)(process.execPath, [...tsx, script, join(out, "facts.json"), "--out", out, ...more]);
}

describe("render-protos", () => {
  it("replaces the .proto files, and keeps the roots of the lock", { timeout: timeoutMs }, async () => {
    await render("--tensorflow", "2.21.0");
    expect((await readdir(out)).sort()).toEqual(["b.proto", "facts.json", "protos.lock.json"]);
    expect(await readLock(out)).toMatchObject({ tensorflow: "2.21.0", origin: "rendered", roots });
  });

  it("refuses a version that is none, and leaves the tree", { timeout: timeoutMs }, async () => {
    await expect(render("--serving", "v2.21.0")).rejects.toMatchObject({
      stderr: expect.stringContaining('--serving: expected a version such as 2.20.0, got "v2.21.0"'),
    });
    expect(await readdir(out)).toContain("a.proto");
  });
});
