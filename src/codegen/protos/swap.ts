/** Putting folders in place of others, all or none. */
import { mkdir, rename } from "node:fs/promises";
import { dirname, join } from "node:path";

/** A folder that is ready, and where it belongs. */
export interface FolderSwap {
  readonly fresh: string;
  readonly target: string;
}

/**
 * Rename each fresh folder to its target. What was there is kept in `scratch` until that is deleted.
 *
 * @param scratch - Folder on the same file system.
 * @returns A function that puts the old folders back.
 * @throws What renaming throws; then the old folders are back.
 */
export async function swapFolders(swaps: readonly FolderSwap[], scratch: string): Promise<() => Promise<void>> {
  const undo: (() => Promise<void>)[] = [];
  const putBack = async () => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    for (const [index, { fresh, target }] of swaps.entries()) {
      const old = join(scratch, `replaced-${index}`);
      await mkdir(dirname(target), { recursive: true });
      if (await renameIfThere(target, old)) undo.push(() => rename(old, target));
      await rename(fresh, target);
      undo.push(() => rename(target, fresh));
    }
  } catch (error) {
    await putBack();
    throw error;
  }
  return putBack;
}

async function renameIfThere(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return false;
    throw error;
  }
}
