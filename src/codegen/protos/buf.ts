/**
 * Running buf: the compiler, linter and generator driver for the proto tree.
 *
 * buf and the plugin come from `node_modules`; nothing here needs a network.
 */
import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { join } from "node:path";
import { promisify } from "node:util";
import { fromBinary } from "@bufbuild/protobuf";
import { type FileDescriptorSet, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { rewriteMapFields } from "./map-fields.js";

const run = promisify(execFile);

/** The compiled tree is about 150 KB; a tree far above this is not a proto tree. */
const maxOutputBytes = 64 * 1024 * 1024;

/**
 * Run buf in `root`, the folder of `buf.yaml`, and return its standard output.
 *
 * @throws Error with what buf printed, if it fails.
 */
export async function runBuf(root: string, args: readonly string[]): Promise<Buffer> {
  const buf = createRequire(import.meta.url).resolve("@bufbuild/buf/bin/buf");
  try {
    const { stdout } = await run(process.execPath, [buf, ...args], { cwd: root, encoding: "buffer", maxBuffer: maxOutputBytes });
    return stdout;
  } catch (cause) {
    throw new Error(`buf ${args[0] ?? ""} failed in ${root}\n${printed(cause)}`, { cause });
  }
}

/** Compile the tree that `root/buf.yaml` names, imported Google files included. */
export async function compileProtos(root: string): Promise<FileDescriptorSet> {
  return fromBinary(FileDescriptorSetSchema, await runBuf(root, ["build", "-o", "-#format=binpb"]));
}

/** Generate TypeScript by `root/buf.gen.yaml` into `base/gen`, which is emptied first; map fields keep every key. */
export async function generateTypes(root: string, base: string): Promise<void> {
  await runBuf(root, ["generate", "-o", base]);
  await rewriteMapFields(join(base, "gen"));
}

/** Lint prints its findings on standard output, the other commands their errors on standard error. */
function printed(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const streams = ["stdout", "stderr"].map((name) => String(Reflect.get(error, name) ?? "").trim()).filter((text) => text !== "");
  return streams.length > 0 ? streams.join("\n") : error.message;
}
