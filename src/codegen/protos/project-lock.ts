/** One run at a time in a project. */
import { mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ServingError } from "../../errors.js";

/** A folder in the project, with one file in it that is called like the id of the process which runs. */
const lockName = ".gen-lock";

/**
 * Do what no other process may do at the same time in this project. The lock of a process that is gone is taken over.
 *
 * Renaming a folder fails where one with files is already, so of several processes one has the lock.
 *
 * @param scratch - Folder of this run on the same file system.
 * @throws ServingError `FAILED_PRECONDITION` if another process is at it.
 */
export async function withProjectLock<T>(project: string, scratch: string, work: () => Promise<T>): Promise<T> {
  const lock = join(project, lockName);
  const own = join(scratch, "lock");
  await mkdir(own);
  await writeFile(join(own, `${process.pid}`), "");
  await removeStale(lock);
  await rename(own, lock).catch((cause: unknown) => {
    throw new ServingError("another sync runs in this project", {
      code: "FAILED_PRECONDITION",
      hint: `if none does, delete ${lock}`,
      cause,
    });
  });
  try {
    return await work();
  } finally {
    // Somebody may have deleted it; what the work says counts.
    await rename(lock, own).catch(() => {});
  }
}

async function removeStale(lock: string): Promise<void> {
  for (const pid of await readdir(lock).catch(() => [])) {
    if (/^\d+$/.test(pid) && !isRunning(Number(pid))) await rm(join(lock, pid), { force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    // Signal 0 only asks.
    return process.kill(pid, 0);
  } catch (error) {
    return !(error instanceof Error && "code" in error && error.code === "ESRCH");
  }
}
