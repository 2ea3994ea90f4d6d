/**
 * Map fields of generated messages as objects without a prototype.
 *
 * ts-proto makes them with `{}`, where the key `__proto__` sets the prototype instead of an entry, and no option of it changes that but the
 * one that makes every map a `Map`.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { filesBelow } from "./files-below.js";

/** What decoding says of every map field; maps with 64-bit keys are a `Map` and have `.set(` here. */
const assignedEntry = /\bmessage\.\w+\[entry\d+\.key\] = /g;
/** A map field of `createBase...()`: no other member of a generated object begins as an empty one. */
const emptyField = /: \{\}(?=[,\s])/g;
/** The start of the accumulator that `fromPartial()` copies a map into. */
const emptyAccumulator = /(return acc;\s*\},\s*)\{\}/g;

/** Not `Object` alone, which a message may be called. */
const emptyRecord = "globalThis.Object.create(null)";

const sourceLine = /^\/\/ source: .*\n/m;
const note = "// Changed after generation: map fields are objects without a prototype, so that every key is an entry.\n";

/** {@link recordsWithoutPrototype} for every TypeScript file below a folder. */
export async function rewriteMapFields(folder: string): Promise<void> {
  const paths = await filesBelow(folder, ".ts");
  await Promise.all(paths.map((path) => rewriteFile(join(folder, path))));
}

async function rewriteFile(path: string): Promise<void> {
  const text = await readFile(path, "utf8");
  const rewritten = recordsWithoutPrototype(text, path);
  if (rewritten !== text) await writeFile(path, rewritten);
}

/**
 * A generated file whose map fields begin as objects without a prototype, with a note of it in its head.
 *
 * @param path - What errors call the file.
 * @throws Error if it does not create and copy as many map fields as it fills: the generator then writes another text than this one knows.
 */
export function recordsWithoutPrototype(text: string, path: string): string {
  const filled = count(text, assignedEntry);
  const created = count(text, emptyField);
  const copied = count(text, emptyAccumulator);
  if (created !== filled || copied !== filled) {
    throw new Error(`${path}: expected the ${filled} map fields that decode() fills, got ${created} created and ${copied} copied ones`);
  }
  if (filled === 0) return text;
  if (!sourceLine.test(text)) throw new Error(`${path}: expected a line that names the source in the head of a generated file`);
  return text
    .replace(emptyField, `: ${emptyRecord}`)
    .replace(emptyAccumulator, (_all, before: string) => before + emptyRecord)
    .replace(sourceLine, (line) => line + note);
}

function count(text: string, pattern: RegExp): number {
  return text.match(pattern)?.length ?? 0;
}
