/** Comparing two folders file by file. */
import { readdir, readFile } from "node:fs/promises";
import { join, relative, sep } from "node:path";

/** One sentence per file that is missing in `actual`, extra there, or different; none if the folders hold the same. */
export async function compareTrees(expected: string, actual: string): Promise<string[]> {
  const wanted = await filesBelow(expected);
  const found = new Set(await filesBelow(actual));
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

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => !entry.isDirectory());
  return files.map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join("/")).sort();
}
