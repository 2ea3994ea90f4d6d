/** Temporary copies of this repository, to change. */
import { cp, mkdir, mkdtemp, readdir, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** A copy, and how it is taken away. */
export interface ProjectCopy {
  readonly folder: string;
  remove(): Promise<void>;
}

/** Copy some files and folders of this repository; its installed packages are linked. */
export async function copyProject(paths: readonly string[]): Promise<ProjectCopy> {
  const folder = await mkdtemp(join(tmpdir(), "tfserving-project-"));
  for (const path of paths) await cp(join(root, path), join(folder, path), { recursive: true });
  await linkPackages(folder);
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
}

/**
 * One link for each package, in a folder of the copy's own: `npm ci` empties `node_modules`, and through a link to the whole folder it would
 * empty the one of this repository. What it installed last is copied after everything else, so that no script finds it outdated.
 */
async function linkPackages(folder: string): Promise<void> {
  const [installed, linked] = [join(root, "node_modules"), join(folder, "node_modules")];
  await mkdir(linked);
  for (const name of await readdir(installed)) {
    // What else begins with a dot belongs to tools that write there, but for the commands.
    if (!name.startsWith(".") || name === ".bin") await symlink(join(installed, name), join(linked, name), "junction");
  }
  await cp(join(installed, ".package-lock.json"), join(linked, ".package-lock.json"));
}
