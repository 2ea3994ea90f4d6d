/** Listing and copying the files of a folder. */
import { copyFile, lstat, mkdir, readdir } from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";

/**
 * Paths of the regular files below a folder, relative to it, with forward slashes and sorted; those that end in `suffix` only.
 *
 * Links are neither listed nor followed.
 */
export async function filesBelow(folder: string, suffix = ""): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && entry.name.endsWith(suffix));
  return files.map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join("/")).sort();
}

/** {@link filesBelow}; none if there is no such folder. */
export async function filesIn(folder: string): Promise<string[]> {
  return filesBelow(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
}

/** The path of something that is neither file nor folder, such as a link: the folder itself, or an entry below it; `undefined` if there is none. */
export async function findSpecial(folder: string): Promise<string | undefined> {
  const found = await lstat(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (found === undefined) return undefined;
  if (!found.isDirectory()) return folder;
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const special = entries.find((entry) => !entry.isFile() && !entry.isDirectory());
  return special === undefined ? undefined : join(special.parentPath, special.name);
}

/** Copy the wanted files of a folder, which may not be there, into another one, which is made. */
export async function copyFiles(from: string, to: string, isWanted: (path: string) => boolean): Promise<void> {
  for (const path of (await filesIn(from)).filter(isWanted)) {
    await mkdir(dirname(join(to, path)), { recursive: true });
    await copyFile(join(from, path), join(to, path));
  }
}
