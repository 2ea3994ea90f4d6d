/**
 * `protos.lock.json`: which versions a proto tree states, where it came from, and checksums that show an edit.
 */
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { FormatError } from "../../errors.js";
import { isProtoPath } from "./descriptor-names.js";
import { filesBelow } from "./files-below.js";
import { isVersion } from "./versions.js";

/** File name of the lock inside a proto tree. */
export const lockFileName = "protos.lock.json";

/** Where the texts of a proto tree came from: descriptor facts, a release archive, or a source directory. */
export type ProtosOrigin = "rendered" | "archive" | "directory";

/** What the lock of a proto tree states. */
export interface ProtosLock {
  /** Version of TensorFlow. */
  readonly tensorflow: string;
  /** Version of TensorFlow Serving. */
  readonly serving: string;
  readonly origin: ProtosOrigin;
  /** Files, and folders of files, that the tree was made for; left out for the default ones. */
  readonly roots?: readonly string[] | undefined;
  /** The wire digest of the compiled tree, see `wire-digest.ts`. */
  readonly wireDigest: string;
  /** sha256, in hex, of each `.proto` file, keyed by its path in the tree. */
  readonly files: Readonly<Record<string, string>>;
}

/** sha256, in hex, of each `.proto` file below `root`, keyed by path with forward slashes and sorted. */
export async function hashProtoTree(root: string): Promise<Record<string, string>> {
  const hashes: Record<string, string> = Object.create(null);
  for (const path of await filesBelow(root, ".proto")) {
    const bytes = await readFile(join(root, path));
    hashes[path] = createHash("sha256").update(bytes).digest("hex");
  }
  return hashes;
}

/**
 * Read the lock of the tree at `root`.
 *
 * @throws FormatError if it is no JSON, or a member is missing or wrong.
 */
export async function readLock(root: string): Promise<ProtosLock> {
  const path = join(root, lockFileName);
  const text = await readFile(path, "utf8");
  return parseLock(parseJson(text, path), path);
}

/** Write the lock of the tree at `root`, files sorted, so that equal trees have equal locks. */
export async function writeLock(root: string, lock: ProtosLock): Promise<void> {
  const { tensorflow, serving, origin, roots, wireDigest } = lock;
  const files = Object.fromEntries(Object.entries(lock.files).sort(([a], [b]) => (a < b ? -1 : 1)));
  await writeFile(join(root, lockFileName), `${JSON.stringify({ tensorflow, serving, origin, roots, wireDigest, files }, null, 2)}\n`);
}

/** One sentence per file that is missing, extra or changed against the lock; none if the tree is as locked. */
export async function checkLock(root: string, lock: ProtosLock): Promise<string[]> {
  const actual = await hashProtoTree(root);
  const findings: string[] = [];
  for (const [path, sha256] of Object.entries(lock.files)) {
    const found = actual[path];
    if (found === undefined) findings.push(`${path}: in the lock, missing in the tree`);
    else if (found !== sha256) findings.push(`${path}: expected sha256 ${sha256}, got ${found}`);
  }
  for (const path of Object.keys(actual)) {
    if (!Object.hasOwn(lock.files, path)) findings.push(`${path}: in the tree, missing in the lock`);
  }
  return findings;
}

function parseLock(value: unknown, path: string): ProtosLock {
  if (!isRecord(value) || !isRecord(value.files)) throw new FormatError(`${path}: expected an object with the member "files"`);
  const files: Record<string, string> = Object.create(null);
  for (const [name, sha256] of Object.entries(value.files)) {
    if (!isProtoPath(name)) throw new FormatError(`${path}: files: expected relative paths of .proto files, got ${JSON.stringify(name)}`);
    files[name] = hexDigest(sha256, `${path}: files[${JSON.stringify(name)}]`);
  }
  return {
    tensorflow: version(value.tensorflow, `${path}: tensorflow`),
    serving: version(value.serving, `${path}: serving`),
    origin: originOf(value.origin, path),
    roots: rootsOf(value.roots, path),
    wireDigest: hexDigest(value.wireDigest, `${path}: wireDigest`),
    files,
  };
}

function parseJson(json: string, path: string): unknown {
  try {
    return JSON.parse(json);
  } catch (cause) {
    throw new FormatError(`${path}: expected JSON`, { cause });
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function version(value: unknown, what: string): string {
  if (typeof value === "string" && isVersion(value)) return value;
  throw new FormatError(`${what}: expected a version such as 2.20.0, got ${JSON.stringify(value)}`);
}

function text(value: unknown, what: string): string {
  if (typeof value !== "string" || value === "") throw new FormatError(`${what}: expected a string, got ${JSON.stringify(value)}`);
  return value;
}

function hexDigest(value: unknown, what: string): string {
  if (typeof value !== "string" || !/^[0-9a-f]{64}$/.test(value))
    throw new FormatError(`${what}: expected a sha256 in hex, got ${JSON.stringify(value)}`);
  return value;
}

function originOf(value: unknown, path: string): ProtosOrigin {
  if (value === "rendered" || value === "archive" || value === "directory") return value;
  throw new FormatError(`${path}: origin: expected "rendered", "archive" or "directory", got ${JSON.stringify(value)}`);
}

function rootsOf(value: unknown, path: string): readonly string[] | undefined {
  if (value === undefined) return undefined;
  if (!Array.isArray(value)) throw new FormatError(`${path}: roots: expected a list of paths, got ${JSON.stringify(value)}`);
  return value.map((root, index) => text(root, `${path}: roots[${index}]`));
}
