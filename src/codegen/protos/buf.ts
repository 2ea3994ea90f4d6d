/**
 * Running buf: the compiler, linter and generator driver for a proto tree.
 *
 * buf and the plugin are installed packages; nothing here needs a network.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { fromBinary } from "@bufbuild/protobuf";
import { type FileDescriptorSet, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { ServingError } from "../../errors.js";
import { rewriteMapFields } from "./map-fields.js";
import { bufPath, ownFile, tsProtoPath } from "./tools.js";

/** The compiled tree is about 150 KB; a tree far above this is not a proto tree. */
const maxOutputBytes = 64 * 1024 * 1024;

/** For whom buf is run. */
export interface BufOptions {
  /** Folder whose `node_modules` has buf. @defaultValue the folder buf is run in */
  readonly project?: string | undefined;
  /** Ends buf, and all that buf runs. */
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
 * It settles when buf has ended, also where `signal` ends it: nothing is written any more.
 *
 * @throws Error if it cannot be run.
 */
export async function tryBuf(root: string, args: readonly string[], { project = root, signal }: BufOptions = {}): Promise<BufResult> {
  const command = [bufPath(project), ...args];
  signal?.throwIfAborted();
  // The script waits for a native program, which runs plugins: only as a group do they end together. Windows has no groups.
  const isGroup = signal !== undefined && process.platform !== "win32";
  const child = spawn(process.execPath, command, { cwd: root, detached: isGroup, stdio: ["ignore", "pipe", "pipe"] });
  const closed = once(child, "close");
  const end = () => {
    if (isGroup && child.pid !== undefined) endGroup(child.pid);
    else child.kill();
  };
  signal?.addEventListener("abort", end);
  try {
    const [output, errors, [exitCode]] = await Promise.all([bytesOf(child.stdout), bytesOf(child.stderr), closed]);
    signal?.throwIfAborted();
    return exitCode === 0 ? { output, complaints: [] } : { output: Buffer.alloc(0), complaints: complaintsOf(output, errors, exitCode) };
  } finally {
    signal?.removeEventListener("abort", end);
  }
}

function endGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

async function bytesOf(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  // One that has more loses its reader, which ends it.
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxOutputBytes) throw new Error(`buf: expected at most ${maxOutputBytes} bytes of output, got more`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/**
 * Run buf in `root`, the folder of `buf.yaml`, and return its standard output.
 *
 * @throws ServingError `FAILED_PRECONDITION` with the first of its complaints, the next ones as hint.
 */
export async function runBuf(root: string, args: readonly string[], options?: BufOptions): Promise<Buffer> {
  return outputOf(await tryBuf(root, args, options), args[0] ?? "");
}

function outputOf({ output, complaints }: BufResult, command: string): Buffer {
  const [first, ...more] = complaints;
  if (first === undefined) return output;
  const hint = more.length === 0 ? undefined : more.slice(0, 5).join("; ");
  throw new ServingError(`buf ${command}: ${first}`, { code: "FAILED_PRECONDITION", hint });
}

/** Compile the tree that `root/buf.yaml` names, imported Google files included. */
export async function compileProtos(root: string, options?: BufOptions): Promise<FileDescriptorSet> {
  return descriptorsOf(await tryCompile(root, options));
}

/** {@link compileProtos} that gives what buf complains of; {@link descriptorsOf} reads the rest. */
export function tryCompile(root: string, options?: BufOptions): Promise<BufResult> {
  return tryBuf(root, ["build", "-o", "-#format=binpb"], options);
}

/**
 * What {@link tryCompile} has compiled.
 *
 * @throws ServingError `FAILED_PRECONDITION` if buf complained.
 */
export function descriptorsOf(compiled: BufResult): FileDescriptorSet {
  return fromBinary(FileDescriptorSetSchema, outputOf(compiled, "build"));
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

/** File beside the generated code: what ts-proto's does not say of the server's configuration files. */
export const configDescriptorsName = "config-descriptors.ts";

/** For whom code is generated, and what is known of the tree. */
export interface GenerateOptions extends BufOptions {
  /** The tree as {@link compileProtos} gives it. @defaultValue it is compiled */
  readonly set?: FileDescriptorSet | undefined;
}

/**
 * Generate TypeScript by `root/buf.gen.yaml` into `base/gen`, which is emptied first; map fields keep every key. Beside it stand the
 * descriptors of the server's configuration files, where the tree has these.
 */
export async function generateTypes(root: string, base: string, options?: GenerateOptions): Promise<void> {
  await runBuf(root, ["generate", "-o", base], options);
  await rewriteMapFields(join(base, "gen"));
  const source = await configDescriptorsSource(root, options);
  if (source !== undefined) await writeFile(join(base, "gen", configDescriptorsName), source);
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
async function configDescriptorsSource(root: string, options: GenerateOptions | undefined): Promise<string | undefined> {
  const { file } = options?.set ?? (await compileProtos(root, options));
  const names = new Set(file.flatMap((one) => one.messageType.map((message) => `${one.package}.${message.name}`)));
  if (!configTypes.every((name) => names.has(`tensorflow.serving.${name}`))) return undefined;

  const types = configTypes.flatMap((name) => ["--type", `tensorflow.serving.${name}`]);
  const args = ["build", "--exclude-source-info", "--as-file-descriptor-set", "-o", "-#format=binpb", ...types];
  const base64 = (await runBuf(root, args, options)).toString("base64");
  return [
    "// Generated by tfserving from the .proto files; do not edit.",
    "",
    "/** A google.protobuf.FileDescriptorSet in base64: the messages in the server's configuration files, and what they are made of. */",
    `export const configDescriptors = "${base64}";`,
    "",
  ].join("\n");
}

/** Lint prints its findings on standard output, the other commands their errors on standard error. */
function complaintsOf(output: Buffer, errors: Buffer, exitCode: unknown): string[] {
  const lines = `${output}\n${errors}`.split("\n").map((line) => line.trim());
  const printed = lines.filter((line) => line !== "");
  return printed.length > 0 ? printed : [`expected exit code 0, got ${exitCode}`];
}
