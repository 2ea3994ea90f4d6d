/** TypeScript's opinion of a project. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { realpath } from "node:fs/promises";
import { join, sep } from "node:path";
import { findTool } from "./tools.js";

/**
 * Type-check the project that has its `tsconfig.json` in a folder.
 *
 * @param wanted - Folder of the files whose types are in question.
 * @returns One line for each error; `undefined` if there is no such file, no TypeScript, or if nothing of `wanted` was checked, as where the
 * configuration only names others (`references`). A module that is not found is an error all the same, as it may be missing in `wanted`.
 */
export async function typeCheck(project: string, wanted: string, signal?: AbortSignal): Promise<string[] | undefined> {
  const tsc = findTool(project, "typescript", "bin/tsc");
  if (tsc === undefined || !existsSync(join(project, "tsconfig.json"))) return undefined;
  // TypeScript prints forward slashes everywhere, and what links lead to.
  const folder = `${(await realpath(wanted)).split(sep).join("/")}/`;
  const args = [tsc, "--noEmit", "--pretty", "false", "--listFiles", "-p", project];
  const { error, output } = await new Promise<{ error: Error | null; output: string }>((resolve, reject) => {
    execFile(process.execPath, args, { cwd: project, signal, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error?.name === "AbortError") reject(signal?.reason);
      else resolve({ error, output: `${stdout}${stderr}` });
    });
  });
  // Lines that belong to the one before are indented.
  const lines = output.split("\n").filter((line) => /^\S/.test(line));
  const errors = lines.filter((line) => line.includes("error TS"));
  if (error !== null && errors.length === 0) return [lines[0] ?? error.message];
  if (lines.some((line) => line.startsWith(folder))) return errors;
  const notFound = errors.filter((line) => line.includes("error TS2307"));
  return notFound.length > 0 ? notFound : undefined;
}
