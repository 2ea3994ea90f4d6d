import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type FolderSwap, PutBackError, swapFolders } from "../../../src/codegen/protos/swap.js";

let folder: string;
let scratch: string;
let swaps: FolderSwap[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tfserving-swap-"));
  scratch = join(folder, "scratch");
  swaps = ["a", "b"].map((name) => ({ fresh: join(scratch, name), target: join(folder, name) }));
  for (const { fresh, target } of swaps) {
    for (const path of [fresh, target]) await mkdir(path, { recursive: true });
    await writeFile(join(fresh, "text"), "fresh");
    await writeFile(join(target, "text"), "old");
  }
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** What the two targets hold. */
function texts(): Promise<string[]> {
  return Promise.all(swaps.map(({ target }) => readFile(join(target, "text"), "utf8")));
}

describe("swapFolders", () => {
  it("puts the fresh folders in place, and the old ones back for a reason", async () => {
    const putBack = await swapFolders(swaps, scratch);
    expect(await texts()).toEqual(["fresh", "fresh"]);
    const reason = new Error("enough");
    await expect(putBack(reason)).rejects.toBe(reason);
    expect(await texts()).toEqual(["old", "old"]);
  });

  it("leaves the old folders where one of the fresh ones is missing", async () => {
    await rm(join(scratch, "b"), { recursive: true });
    await expect(swapFolders(swaps, scratch)).rejects.toThrow("ENOENT");
    expect(await texts()).toEqual(["old", "old"]);
  });

  it("puts back what it can, and names the folder of the rest", async () => {
    const putBack = await swapFolders(swaps, scratch);
    await rm(join(folder, "b"), { recursive: true });
    const reason = new Error("enough");
    const error = await putBack(reason).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(PutBackError);
    expect(error).toMatchObject({
      code: "INTERNAL",
      cause: reason,
      message: expect.stringMatching(/^putting the old folders back failed: ENOENT.*; what is missing is in .*scratch$/),
    });
    expect(await texts()).toEqual(["old", "old"]);
  });
});
