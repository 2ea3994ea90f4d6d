/**
 * Running buf: the compiler, linter and generator driver for a proto tree.
 *
 * buf and the plugin are installed packages; nothing here needs a network.
 */
import { execFile } from "node:child_process";
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { fromBinary } from "@bufbuild/protobuf";
import { type FileDescriptorSet, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { ServingError } from "../../errors.js";
import { rewriteMapFields } from "./map-fields.js";
import { bufPath, ownFile, tsProtoPath } from "./tools.js";

const run = promisify(execFile);

/** The compiled tree is about 150 KB; a tree far above this is not a proto tree. */
const maxOutputBytes = 64 * 1024 * 1024;

/** For whom buf is run. */
export interface BufOptions {
  /** Folder whose `node_modules` has buf. @defaultValue the folder buf is run in */
  readonly project?: string | undefined;
  /** Ends buf. */
  readonly signal?: AbortSignal | undefined;
}

/** What buf did: its output, or the lines it complains in. */
export interface BufResult {
  readonly output: Buffer;
  readonly complaints: readonly string[];
}

/**
 * Run buf in `root`, the folder of `buf.yaml`.
 *
 * @throws Error if it cannot be run.
 */
export async function tryBuf(root: string, args: readonly string[], { project = root, signal }: BufOptions = {}): Promise<BufResult> {
  const command = [bufPath(project), ...args];
  try {
    const { stdout } = await run(process.execPath, command, { cwd: root, encoding: "buffer", maxBuffer: maxOutputBytes, signal });
    return { output: stdout, complaints: [] };
  } catch (error) {
    signal?.throwIfAborted();
    return { output: Buffer.alloc(0), complaints: complaintsOf(error) };
  }
}

/**
 * Run buf in `root`, the folder of `buf.yaml`, and return its standard output.
 *
 * @throws ServingError `FAILED_PRECONDITION` with the first of its complaints, the next ones as hint.
 */
export async function runBuf(root: string, args: readonly string[], options?: BufOptions): Promise<Buffer> {
  const { output, complaints } = await tryBuf(root, args, options);
  const [first, ...more] = complaints;
  if (first === undefined) return output;
  const hint = more.length === 0 ? undefined : more.slice(0, 5).join("; ");
  throw new ServingError(`buf ${args[0] ?? ""}: ${first}`, { code: "FAILED_PRECONDITION", hint });
}

/** Compile the tree that `root/buf.yaml` names, imported Google files included. */
export async function compileProtos(root: string, options?: BufOptions): Promise<FileDescriptorSet> {
  return fromBinary(FileDescriptorSetSchema, await runBuf(root, ["build", "-o", "-#format=binpb"], options));
}

/**
 * Write `buf.yaml` and `buf.gen.yaml` of this package into a folder that has, or will have, a proto tree called `protos`.
 *
 * The plugin is named by its path in `project`.
 */
export async function writeBufConfig(folder: string, project: string): Promise<void> {
  await copyFile(ownFile("buf.yaml"), join(folder, "buf.yaml"));
  const text = await readFile(ownFile("buf.gen.yaml"), "utf8");
  const plugin = "local: node_modules/.bin/protoc-gen-ts_proto";
  if (!text.includes(plugin)) throw new Error(`buf.gen.yaml: expected the line "${plugin}"`);
  // JSON is YAML. A function, for paths may have dollar signs.
  const ownPlugin = `local: ${JSON.stringify([process.execPath, tsProtoPath(project)])}`;
  await writeFile(
    join(folder, "buf.gen.yaml"),
    text.replace(plugin, () => ownPlugin),
  );
}

/**
 * Generate TypeScript by `root/buf.gen.yaml` into `base/gen`, which is emptied first; map fields keep every key. Beside it stand the
 * descriptors of the server's configuration files, where the tree has these.
 */
export async function generateTypes(root: string, base: string, options?: BufOptions): Promise<void> {
  await runBuf(root, ["generate", "-o", base], options);
  await rewriteMapFields(join(base, "gen"));
  const source = await configDescriptorsSource(root, options);
  if (source !== undefined) await writeFile(join(base, "gen", "config-descriptors.ts"), source);
}

/** The messages in the server's configuration files, of package tensorflow.serving; the last one stands inside an Any. */
const configTypes = [
  "ModelServerConfig",
  "BatchingParameters",
  "MonitoringConfig",
  "SSLConfig",
  "PlatformConfigMap",
  "SavedModelBundleSourceAdapterConfig",
];

/** ts-proto's types do not say what fields are called in text format. Only what these messages are made of, a sixth of the whole tree. */
async function configDescriptorsSource(root: string, options: BufOptions | undefined): Promise<string | undefined> {
  const { file } = await compileProtos(root, options);
  const names = new Set(file.flatMap((one) => one.messageType.map((message) => `${one.package}.${message.name}`)));
  if (!configTypes.every((name) => names.has(`tensorflow.serving.${name}`))) return undefined;

  const types = configTypes.flatMap((name) => ["--type", `tensorflow.serving.${name}`]);
  const args = ["build", "--exclude-source-info", "--as-file-descriptor-set", "-o", "-#format=binpb", ...types];
  const base64 = (await runBuf(root, args, options)).toString("base64");
  return [
    "// Generated by scripts/gen.ts from protos/; do not edit.",
    "",
    "/** A google.protobuf.FileDescriptorSet in base64: the messages in the server's configuration files, and what they are made of. */",
    `export const configDescriptors = "${base64}";`,
    "",
  ].join("\n");
}

/** Lint prints its findings on standard output, the other commands their errors on standard error. */
function complaintsOf(error: unknown): string[] {
  if (!(error instanceof Error)) return [String(error)];
  const printed = ["stdout", "stderr"].flatMap((name) => String(Reflect.get(error, name) ?? "").split("\n"));
  const lines = printed.map((line) => line.trim()).filter((line) => line !== "");
  return lines.length > 0 ? lines : [error.message];
}
