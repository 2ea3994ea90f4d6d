import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { withProjectLock } from "../../../src/codegen/protos/project-lock.js";

let project: string;

beforeEach(async () => {
  project = await mkdtemp(join(tmpdir(), "tfserving-lock-"));
});
afterEach(() => rm(project, { recursive: true, force: true }));

async function locked<T>(work: () => Promise<T>): Promise<T> {
  return withProjectLock(project, await mkdtemp(join(project, "scratch-")), work);
}

async function lockOf(pid: number): Promise<void> {
  await mkdir(join(project, ".gen-lock"));
  await writeFile(join(project, `.gen-lock/${pid}`), "");
}

/** Id of a process that has ended. */
function goneProcess(): number {
  return spawnSync(process.execPath, ["--version"]).pid;
}

describe("withProjectLock", () => {
  it("gives what the work gives, with the process's id in the lock meanwhile", async () => {
    expect(await locked(() => readdir(join(project, ".gen-lock")))).toEqual([`${process.pid}`]);
    expect(await readdir(project)).not.toContain(".gen-lock");
  });

  it("is free again where the work fails", async () => {
    await expect(locked(() => Promise.reject(new Error("enough")))).rejects.toThrow("enough");
    expect(await locked(async () => "done")).toBe("done");
  });

  it.each<[string, () => Promise<unknown>]>([
    ["of a process that is gone", () => lockOf(goneProcess())],
    ["without process", () => mkdir(join(project, ".gen-lock"))],
  ])("takes over a lock %s", async (_what, lock) => {
    await lock();
    expect(await locked(async () => "done")).toBe("done");
  });

  it("lets one of several take over a lock of a process that is gone", async () => {
    await lockOf(goneProcess());
    let running = 0;
    const work = async () => {
      running += 1;
      expect(running).toBe(1);
      await readdir(project);
      running -= 1;
    };
    await Promise.allSettled([1, 2, 3, 4].map(() => locked(work)));
    expect(running).toBe(0);
  });

  it("refuses where a process runs, and leaves it its lock", async () => {
    await lockOf(process.ppid);
    await expect(locked(async () => "done")).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: "another sync runs in this project",
      hint: `if none does, delete ${join(project, ".gen-lock")}`,
    });
    expect(await readdir(join(project, ".gen-lock"))).toEqual([`${process.ppid}`]);
  });
});
