import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";

/** A tensor of a signature as `index.json` has it. */
export interface TensorFixture {
  readonly dtype: string;
  /** -1 for any size, `null` for unknown rank. */
  readonly shape: readonly number[] | null;
  readonly values?: readonly number[];
}

/** A signature as TensorFlow reads it. */
export interface SignatureFixture {
  readonly method_name: string;
  readonly inputs: Readonly<Record<string, TensorFixture>>;
  readonly outputs: Readonly<Record<string, TensorFixture>>;
  readonly defaults?: Readonly<Record<string, TensorFixture>>;
}

interface IndexEntry {
  readonly name: string;
  readonly versions: readonly string[];
  readonly signatures: Readonly<Record<string, Readonly<Record<string, SignatureFixture>>>>;
}

const root = new URL("../fixtures/saved_models/", import.meta.url);
const index = JSON.parse(readFileSync(new URL("index.json", root), "utf8")) as { entries: IndexEntry[] };

/** Path of a version folder, or of a file in it. */
export function pathOf(model: string, ...parts: string[]): string {
  return join(fileURLToPath(root), model, ...parts);
}

/** Every version of every model, with its signatures as TensorFlow reads them. */
export const versions = index.entries.flatMap(({ name, versions: folders, signatures }) =>
  folders.map((folder) => ({ model: `${name}/${folder}`, dir: pathOf(name, folder), signatures: signatures[folder] ?? {} })),
);

/** An empty folder that goes when the test ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "saved-model-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** A copy of a version folder that the test may change. */
export function copyOf(dir: string): string {
  const copy = temporaryFolder();
  cpSync(dir, copy, { recursive: true });
  return copy;
}
