/** Putting folders in place of others, all or none. */
import { mkdir, rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ServingError } from "../../errors.js";

/** A folder that is ready, and where it belongs. */
export interface FolderSwap {
  readonly fresh: string;
  readonly target: string;
}

/** Old folders could not be put back: what is missing is in the scratch folder, which must stay. The cause is why they should be. */
export class PutBackError extends ServingError {
  constructor(scratch: string, failures: readonly string[], cause: unknown) {
    super(`putting the old folders back failed: ${failures.join("; ")}; what is missing is in ${scratch}`, { code: "INTERNAL", cause });
  }
}

/**
 * Rename each fresh folder to its target. What was there is kept in `scratch` until that is deleted.
 *
 * @param scratch - Folder on the same file system.
 * @returns A function that puts the old folders back, for a reason that it throws.
 * @throws What renaming throws; then the old folders are back.
 * @throws PutBackError if they are not.
 */
export async function swapFolders(swaps: readonly FolderSwap[], scratch: string): Promise<(reason: unknown) => Promise<never>> {
  const undo: (() => Promise<void>)[] = [];
  const putBack = async (reason: unknown) => {
    const failures: string[] = [];
    // One that fails must not keep the others from what they can do.
    for (const step of undo.splice(0).reverse()) await step().catch((error: Error) => failures.push(error.message));
    throw failures.length === 0 ? reason : new PutBackError(scratch, failures, reason);
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
    return putBack(error);
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
