import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkLock, hashProtoTree, lockFileName, type ProtosLock, readLock, writeLock } from "../../../src/codegen/protos/lock.js";

const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

let tree: string;
let lock: ProtosLock;

beforeEach(async () => {
  tree = await mkdtemp(join(tmpdir(), "tfserving-lock-"));
  await mkdir(join(tree, "b"));
  await writeFile(join(tree, "b/x.proto"), "abc");
  await writeFile(join(tree, "a.proto"), "");
  await writeFile(join(tree, "README.md"), "not locked");
  lock = { tensorflow: "1.2.3", serving: "1.2.4", origin: "rendered", wireDigest: empty, files: await hashProtoTree(tree) };
});
afterEach(() => rm(tree, { recursive: true, force: true }));

describe("hashProtoTree", () => {
  it("gives the sha256 of each .proto file, sorted by path", () => {
    expect(Object.entries(lock.files)).toEqual([
      ["a.proto", empty],
      ["b/x.proto", abc],
    ]);
  });
});

describe("writeLock and readLock", () => {
  it("keep every member, with files sorted", async () => {
    await writeLock(tree, { ...lock, files: { "b/x.proto": abc, "a.proto": empty } });
    expect(await readLock(tree)).toEqual(lock);
    const text = await readFile(join(tree, lockFileName), "utf8");
    expect(Object.keys(JSON.parse(text))).toEqual(["tensorflow", "serving", "origin", "wireDigest", "files"]);
    expect(text.indexOf("a.proto")).toBeLessThan(text.indexOf("b/x.proto"));
  });

  it("keep the roots, where there are any", async () => {
    const roots = ["b", "a.proto"];
    await writeLock(tree, { ...lock, roots });
    expect(await readLock(tree)).toEqual({ ...lock, roots });
  });

  it.each([
    { title: "no files", change: { files: undefined }, message: /expected an object with the member "files"/ },
    { title: "an unknown origin", change: { origin: "mail" }, message: /origin: expected .* got "mail"/ },
    { title: "no version", change: { serving: "" }, message: /serving: expected a version such as 2\.20\.0, got ""/ },
    { title: "a version that is none", change: { tensorflow: "v2.20.0" }, message: /tensorflow: expected a version .* got "v2\.20\.0"/ },
    { title: "a digest that is none", change: { wireDigest: "12" }, message: /wireDigest: expected a sha256 in hex, got "12"/ },
    { title: "roots that are no list", change: { roots: "b" }, message: /roots: expected a list of paths, got "b"/ },
    { title: "a root that is no path", change: { roots: ["b", 1] }, message: /roots\[1\]: expected a string, got 1/ },
    {
      title: "a path outside the tree",
      change: { files: { "../x.proto": abc } },
      message: /protos\.lock\.json: files: expected relative paths of .* got "\.\.\/x/,
    },
  ])("reject a lock with $title", async ({ change, message }) => {
    await writeFile(join(tree, lockFileName), JSON.stringify({ ...lock, ...change }));
    await expect(readLock(tree)).rejects.toMatchObject({ name: "FormatError", message: expect.stringMatching(message) });
  });
});

describe("checkLock", () => {
  it("finds nothing in an unchanged tree", async () => {
    expect(await checkLock(tree, lock)).toEqual([]);
  });

  it("names each changed, missing and extra file", async () => {
    await writeFile(join(tree, "a.proto"), "abc");
    await rm(join(tree, "b/x.proto"));
    await writeFile(join(tree, "b/new.proto"), "");
    expect(await checkLock(tree, lock)).toEqual([
      `a.proto: expected sha256 ${empty}, got ${abc}`,
      "b/x.proto: in the lock, missing in the tree",
      "b/new.proto: in the tree, missing in the lock",
    ]);
  });

  it("finds nothing in the vendored tree", async () => {
    const protos = fileURLToPath(new URL("../../../protos", import.meta.url));
    const vendored = await readLock(protos);
    expect(Object.keys(vendored.files)).toContain("tensorflow_serving/apis/prediction_service.proto");
    expect(await checkLock(protos, vendored)).toEqual([]);
  });
});
