/** Version folders of a base path: its children whose whole name is a number (`file_system_storage_path_source.cc`). */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { versionOfFolder } from "../model-server-config.js";

/** The version folders of a base path by version, plain files with such names included; `undefined` if it cannot be read. */
export async function versionFolders(basePath: string): Promise<ReadonlyMap<bigint, string> | undefined> {
  let names: string[];
  try {
    names = await readdir(basePath);
  } catch {
    // Missing or not a folder: the real server logs it and leaves its models as they are.
    return undefined;
  }
  const folders = new Map<bigint, string>();
  for (const name of names.sort()) {
    const version = versionOfFolder(name);
    // "1" and "001" are the same version; the plain name wins.
    if (version !== undefined && (!folders.has(version) || !name.startsWith("0"))) folders.set(version, join(basePath, name));
  }
  return folders;
}
