/** The examples in a page of documentation, run as they stand against the built package. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const root = new URL("../../", import.meta.url);

/** Every block of JavaScript in a page that imports the package. */
export function examplesIn(page: string): string[] {
  const blocks = readFileSync(new URL(page, root), "utf8").matchAll(/```js\n(.*?)```/gs);
  return [...blocks].map(([, code = ""]) => code).filter((code) => code.startsWith("import "));
}

/** What an example prints once other texts stand in for some of its own, such as ports and folders. */
export async function outputOf(code: string, replacements: Readonly<Record<string, string>>): Promise<string> {
  const changed = Object.entries(replacements).reduce((text, [from, to]) => text.replaceAll(from, to), code);
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", changed], { cwd: fileURLToPath(root) });
  return stdout;
}
