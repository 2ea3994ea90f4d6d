/**
 * Copies test data from the shared folder beside the checkout into test/fixtures, so that tests need nothing outside the repository.
 *
 *     tsx scripts/copy-fixtures.ts [--from ../shared]              copies every file of the manifest
 *     tsx scripts/copy-fixtures.ts --check [--from ../shared]      compares the copies with the manifest, and with the source if there
 *     tsx scripts/copy-fixtures.ts --add <from> <to> [--from ...]  takes a file or a whole folder into the manifest and copies it
 */
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, posix, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

/** One copied file. */
interface Entry {
  /** Path below the shared folder. */
  readonly from: string;
  /** Path below test/fixtures. */
  readonly to: string;
  readonly sha256: string;
}

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const fixtures = join(root, "test", "fixtures");
const manifestFile = join(root, "scripts", "fixtures.manifest.json");

function main(): void {
  const { values, positionals } = parseArgs({
    options: { check: { type: "boolean" }, add: { type: "boolean" }, from: { type: "string", default: join(root, "..", "shared") } },
    allowPositionals: true,
  });
  const shared = resolve(values.from);
  const problems = values.check ? check(shared) : values.add ? add(shared, positionals) : copy(shared, readManifest());
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) process.exitCode = 1;
}

/** What is wrong with the copies. */
function check(shared: string): string[] {
  const entries = readManifest();
  const withSource = existsSync(shared);
  const problems = entries.flatMap((entry) => {
    const copied = sha256Of(join(fixtures, entry.to));
    const source = withSource ? sha256Of(join(shared, entry.from)) : entry.sha256;
    return [
      ...(copied === entry.sha256 ? [] : [`test/fixtures/${entry.to}: expected sha256 ${entry.sha256}, got ${copied ?? "no file"}`]),
      ...(source === entry.sha256 ? [] : [`${entry.from}: the source has changed (sha256 ${source ?? "no file"}): copy again with --add`]),
    ];
  });
  console.log(`${entries.length} copies checked${withSource ? ` against ${shared}` : " (no source folder to compare with)"}`);
  return problems;
}

/** Copies every entry whose source still is what the manifest says. */
function copy(shared: string, entries: readonly Entry[]): string[] {
  if (!existsSync(shared)) {
    console.log(`nothing copied: there is no ${shared}`);
    return [];
  }
  return entries.flatMap((entry) => {
    const source = join(shared, entry.from);
    const sha256 = sha256Of(source);
    if (sha256 !== entry.sha256) return [`${entry.from}: expected sha256 ${entry.sha256}, got ${sha256 ?? "no file"}`];
    mkdirSync(dirname(join(fixtures, entry.to)), { recursive: true });
    copyFileSync(source, join(fixtures, entry.to));
    return [];
  });
}

/** Takes a file, or every file below a folder, into the manifest. */
function add(shared: string, [from, to, ...rest]: readonly string[]): string[] {
  if (from === undefined || to === undefined || rest.length > 0) return ["usage: copy-fixtures --add <from> <to> [--from folder]"];
  const source = resolve(shared, from);
  if (!existsSync(source)) return [`there is no ${source}`];
  const files = statSync(source).isDirectory()
    ? readdirSync(source, { recursive: true, withFileTypes: true })
        .filter((file) => file.isFile())
        .map((file) => relative(source, join(file.parentPath, file.name)))
    : [""];
  const added = files.map(
    (file): Entry => ({
      from: slashes(relative(shared, join(source, file))),
      to: slashes(file === "" ? to : join(to, file)),
      sha256: sha256Of(join(source, file)) ?? "",
    }),
  );
  const replaced = new Set(added.map((entry) => entry.to));
  const entries = [...readManifest().filter((entry) => !replaced.has(entry.to)), ...added];
  entries.sort((a, b) => (a.to < b.to ? -1 : 1));
  writeManifest(entries);
  return copy(shared, added);
}

/** The manifest names the two folders once for all files below them. */
interface Folder {
  readonly from: string;
  readonly to: string;
  /** sha256 by path. */
  readonly files: Record<string, string>;
}

function readManifest(): readonly Entry[] {
  if (!existsSync(manifestFile)) return [];
  // Written by this script only.
  const { folders } = JSON.parse(readFileSync(manifestFile, "utf8")) as { folders: Folder[] };
  return folders.flatMap(({ from, to, files }) =>
    Object.entries(files).map(([path, sha256]) => ({ from: posix.join(from, path), to: posix.join(to, path), sha256 })),
  );
}

function writeManifest(entries: readonly Entry[]): void {
  const folders = new Map<string, Folder>();
  for (const { from, to, sha256 } of entries) {
    const path = commonEnd(from, to);
    const key: Folder = { from: withoutEnd(from, path), to: withoutEnd(to, path), files: {} };
    const folder = folders.get(`${key.from}\n${key.to}`) ?? key;
    folder.files[path] = sha256;
    folders.set(`${key.from}\n${key.to}`, folder);
  }
  writeFileSync(manifestFile, `${JSON.stringify({ folders: [...folders.values()] }, null, 2)}\n`);
}

/** The path components that two paths end in. */
function commonEnd(a: string, b: string): string {
  const left = a.split("/");
  const right = b.split("/");
  let length = 0;
  while (length < Math.min(left.length, right.length) && left.at(-1 - length) === right.at(-1 - length)) length++;
  return left.slice(left.length - length).join("/");
}

function withoutEnd(path: string, end: string): string {
  return path.slice(0, path.length - end.length).replace(/\/$/, "");
}

function sha256Of(file: string): string | undefined {
  return existsSync(file) ? createHash("sha256").update(readFileSync(file)).digest("hex") : undefined;
}

function slashes(path: string): string {
  return path.split(sep).join("/");
}

main();
