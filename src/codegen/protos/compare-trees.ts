/** Comparing two folders file by file. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { filesBelow, filesIn } from "./files-below.js";

/** One sentence per file that is missing in `actual`, extra there, or different; none if they hold the same. `actual` may not be there. */
export async function compareTrees(expected: string, actual: string): Promise<string[]> {
  const wanted = await filesBelow(expected);
  const found = new Set(await filesIn(actual));
  const findings: string[] = [];
  for (const path of wanted) {
    if (!found.delete(path)) {
      findings.push(`${path}: missing`);
      continue;
    }
    const [a, b] = await Promise.all([readFile(join(expected, path)), readFile(join(actual, path))]);
    if (!a.equals(b)) findings.push(`${path}: differs`);
  }
  for (const path of found) findings.push(`${path}: extra`);
  return findings;
}
