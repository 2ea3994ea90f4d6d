import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { compareTrees } from "../../../src/codegen/protos/compare-trees.js";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tfserving-trees-"));
  for (const side of ["expected", "actual"]) {
    await mkdir(join(folder, side, "sub"), { recursive: true });
    await writeFile(join(folder, side, "same.ts"), "same");
    await writeFile(join(folder, side, "sub/changed.ts"), "same");
  }
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe("compareTrees", () => {
  it("finds nothing between equal folders", async () => {
    expect(await compareTrees(join(folder, "expected"), join(folder, "actual"))).toEqual([]);
  });

  it("names each file that differs, is missing or extra", async () => {
    await writeFile(join(folder, "actual/sub/changed.ts"), "other");
    await writeFile(join(folder, "actual/sub/new.ts"), "");
    await rm(join(folder, "actual/same.ts"));
    expect(await compareTrees(join(folder, "expected"), join(folder, "actual"))).toEqual([
      "same.ts: missing",
      "sub/changed.ts: differs",
      "sub/new.ts: extra",
    ]);
  });

  it("takes a folder that is not there for an empty one", async () => {
    expect(await compareTrees(join(folder, "expected"), join(folder, "nowhere"))).toEqual(["same.ts: missing", "sub/changed.ts: missing"]);
  });
});
