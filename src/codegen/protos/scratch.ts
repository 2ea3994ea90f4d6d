/** Folders for the time of a run. */
import { rm } from "node:fs/promises";

/**
 * Delete a folder, which may have to wait for programs that have just ended.
 *
 * @returns Why it is still there, if it is: nothing that the run has done, or failed at, is different for it.
 */
export async function removeScratch(folder: string): Promise<Error | undefined> {
  try {
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    return undefined;
  } catch (error) {
    return error as Error;
  }
}
