/** TypeScript's opinion of a project. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { findTool } from "./tools.js";

/**
 * Type-check the project that has its `tsconfig.json` in a folder.
 *
 * @returns One line for each error; `undefined` if there is no such file, or no TypeScript.
 */
export async function typeCheck(project: string, signal?: AbortSignal): Promise<string[] | undefined> {
  const tsc = findTool(project, "typescript", "bin/tsc");
  if (tsc === undefined || !existsSync(join(project, "tsconfig.json"))) return undefined;
  const args = [tsc, "--noEmit", "--pretty", "false", "-p", project];
  const output = await new Promise<string>((resolve, reject) => {
    execFile(process.execPath, args, { cwd: project, signal, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error?.name === "AbortError") reject(signal?.reason);
      else resolve(error === null ? "" : `${stdout}${stderr}` || error.message);
    });
  });
  // Lines that belong to the one before are indented.
  return output.split("\n").filter((line) => /^\S/.test(line));
}
