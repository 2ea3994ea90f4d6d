/** Version folders of a base path: its children whose whole name is a number (`file_system_storage_path_source.cc`). */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { VersionPolicy } from "../model-server-config.js";

/** Versions are int64. */
export const maxVersion = 2n ** 63n - 1n;

/** The version folders of a base path by version; `undefined` if it cannot be read. */
export async function versionFolders(basePath: string): Promise<ReadonlyMap<bigint, string> | undefined> {
  let names: string[];
  try {
    names = await readdir(basePath);
  } catch {
    // Missing or not a folder: the real server logs it and leaves the model as it is.
    return undefined;
  }
  const folders = new Map<bigint, string>();
  for (const name of names.sort()) {
    if (!/^\d+$/.test(name) || BigInt(name) > maxVersion) continue;
    // "1" and "001" are the same version; the plain name wins.
    if (!folders.has(BigInt(name)) || !name.startsWith("0")) folders.set(BigInt(name), join(basePath, name));
  }
  return folders;
}

/** The versions that a policy picks among those there are. */
export function pickVersions(versions: Iterable<bigint>, policy: VersionPolicy = { latest: 1 }): bigint[] {
  const known = [...versions].sort((a, b) => (a < b ? 1 : -1));
  if (policy === "all") return known;
  if ("specific" in policy) return known.filter((version) => policy.specific.includes(version));
  // As in the real server 0 counts as 1.
  return known.slice(0, Math.max(1, policy.latest));
}
