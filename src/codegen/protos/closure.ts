/** The import closure of a tree's roots, as buf finds it. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { ServingError } from "../../errors.js";
import { type BufOptions, tryBuf } from "./buf.js";
import type { ProtoFiles } from "./sources.js";

/** What a client, a warm-up file, a server configuration file or a saved model is made of; a folder is all files directly in it. */
export const rootsDefaults: readonly string[] = Object.freeze([
  "tensorflow_serving/apis",
  "tensorflow_serving/config",
  "tensorflow_serving/servables/tensorflow/saved_model_bundle_source_adapter.proto",
  "tensorflow_serving/servables/tensorflow/session_bundle_config.proto",
  "tensorflow_serving/servables/tensorflow/thread_pool_factory_config.proto",
  "tensorflow/core/example/example_parser_configuration.proto",
  "tensorflow/core/protobuf/fingerprint.proto",
  "tensorflow/core/protobuf/saved_model.proto",
  "tensorflow/core/protobuf/tensor_bundle.proto",
]);

/**
 * Write the roots, and everything they import but Google's own files, into `folder/protos`.
 *
 * @param folder - An existing scratch folder; the whole of `files` is written into its `sources`.
 * @throws ServingError `FAILED_PRECONDITION` that names a root or an import which `files` lack.
 */
export async function vendorClosure(folder: string, files: ProtoFiles, roots: readonly string[], options?: BufOptions): Promise<void> {
  const paths = expandRoots(files, roots);
  await writeFiles(join(folder, "sources"), files);
  const config = JSON.stringify({ version: "v2", modules: [{ path: "sources" }] });
  const targets = paths.flatMap((path) => ["--path", `sources/${path}`]);
  const { complaints } = await tryBuf(folder, ["export", ".", "--config", config, "-o", "protos", ...targets], options);
  if (complaints.length === 0) return;
  const names = { shownAs: "", absent: "neither source has this file" };
  throw new ServingError(await explain(join(folder, "sources"), complaints, names), { code: "FAILED_PRECONDITION" });
}

function expandRoots(files: ProtoFiles, roots: readonly string[]): string[] {
  const expanded = roots.flatMap((root) => {
    const below = [...files.keys()].filter((path) => path === root || dirname(path) === root.replace(/\/$/, ""));
    if (below.length === 0) throw new ServingError(`${root}: neither source has this file or folder`, { code: "FAILED_PRECONDITION" });
    return below;
  });
  return [...new Set(expanded)].sort();
}

async function writeFiles(folder: string, files: ProtoFiles): Promise<void> {
  for (const [path, bytes] of files) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), bytes);
  }
}

const missingFile = /^(.*):(\d+):\d+:imported file does not exist$/;

/** Words of {@link explain}. */
export interface ExplainOptions {
  /** What stands before the paths of the tree's files. */
  readonly shownAs: string;
  /** What is said of a file that is missing. */
  readonly absent: string;
}

/**
 * The complaint of buf that others follow from. Of a missing file buf says where it is imported, not what it is called.
 *
 * @param tree - Folder of the `.proto` files; buf ran in the one above it.
 */
export async function explain(tree: string, complaints: readonly string[], { shownAs, absent }: ExplainOptions): Promise<string> {
  const prefix = `${basename(tree)}/`;
  const shown = (text: string) => (text.startsWith(prefix) ? `${shownAs}${text.slice(prefix.length)}` : text);
  const [, path, line] = complaints.map((text) => missingFile.exec(text)).find((match) => match !== null) ?? [];
  if (path === undefined) return `buf: ${shown(complaints.find((text) => !text.includes("cannot find")) ?? complaints[0] ?? "")}`;
  const text = await readFile(join(dirname(tree), path), "utf8");
  return `${shown(path)}:${line}: ${text.split("\n")[Number(line) - 1]?.trim()} ${absent}`;
}
