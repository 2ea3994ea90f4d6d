/** From two upstream source trees to `protos/` and `gen/`: all of it, or nothing. */
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { isAbsolute, join, relative, resolve, sep } from "node:path";
import { toBinary } from "@bufbuild/protobuf";
import { type FileDescriptorSet, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { ServingError } from "../../errors.js";
import { type BufOptions, compileProtos, configDescriptorsName, generateTypes, tryBuf, writeBufConfig } from "./buf.js";
import { rootsDefaults, vendorClosure } from "./closure.js";
import { isCompilersFile } from "./descriptor-names.js";
import { copyFiles, filesIn, findSpecial } from "./files-below.js";
import { hashProtoTree, lockFileName, type ProtosLock, readLock, writeLock } from "./lock.js";
import { withProjectLock } from "./project-lock.js";
import { type CompiledTree, type ProtosReport, reportChanges } from "./report.js";
import { removeScratch } from "./scratch.js";
import { assertNoClash, assertSource, describeSource, type ProtoFiles, type ProtoSource, readSource } from "./sources.js";
import { PutBackError, swapFolders } from "./swap.js";
import { typeCheck } from "./type-check.js";
import { wireDigest } from "./wire-digest.js";

/** What is taken from where, and where it goes. */
export interface SyncOptions {
  readonly tensorflow: ProtoSource;
  readonly serving: ProtoSource;
  /** Folder whose packages and `tsconfig.json` are used; the folders below are relative to it. */
  readonly project: string;
  /** Folder of the proto tree. @defaultValue "protos" */
  readonly out?: string | undefined;
  /** Folder of the generated TypeScript. @defaultValue "gen" */
  readonly gen?: string | undefined;
  /** Files, and folders of files, that are wanted with all they import. @defaultValue those in the lock of the old tree, else rootsDefaults */
  readonly roots?: readonly string[] | undefined;
  /** Also go on if the new interface breaks the old one. @defaultValue false */
  readonly allowBreaking?: boolean | undefined;
  /** Whether type errors of the project put the old folders back. @defaultValue true */
  readonly typeCheck?: boolean | undefined;
  /** Ends it; the old folders stay. */
  readonly signal?: AbortSignal | undefined;
  /** Told what is being done, a line at a time. */
  readonly onProgress?: ((line: string) => void) | undefined;
}

/** Defaults of {@link SyncOptions}. */
export const syncDefaults = Object.freeze({ out: "protos", gen: "gen", roots: rootsDefaults, allowBreaking: false, typeCheck: true });

/** What was done. */
export interface SyncResult {
  readonly report: ProtosReport;
  /** `false` if the change was refused: then the old folders are as they were. */
  readonly applied: boolean;
  /** Number of `.proto` files. */
  readonly files: number;
  readonly wireDigest: string;
  /** What `buf lint` says of the new tree, a line each. */
  readonly lint: readonly string[];
  /** What `buf breaking` says of the change from the old tree, a line each. */
  readonly breaking: readonly string[];
  /** `skipped` where the project has no TypeScript or no `tsconfig.json` that the new code belongs to, or where it was not wanted. */
  readonly typeCheck: "passed" | "skipped";
}

/** The folders of one run, as absolute paths. */
interface Folders extends BufOptions {
  readonly project: string;
  readonly out: string;
  readonly gen: string;
  /** Below the project, for renaming works within one file system only. */
  readonly scratch: string;
  /** Of the tree that is replaced; `undefined` where there is none. */
  readonly oldLock: ProtosLock | undefined;
}

/**
 * Replace a proto tree, its lock and the code generated from it by those of other versions.
 *
 * The same sources give the same folders, byte for byte. On any error, and where the change is refused, both folders stay as they were.
 *
 * @throws RangeError for options that cannot be meant.
 * @throws ServingError that names what is wrong: `UNAVAILABLE` if a server is not reached, else the sources, the tools or the project.
 */
export async function syncProtos(options: SyncOptions): Promise<SyncResult> {
  await assertSource(options.tensorflow, "--tensorflow");
  await assertSource(options.serving, "--serving");
  const project = resolve(options.project);
  const out = resolve(project, options.out ?? syncDefaults.out);
  const gen = resolve(project, options.gen ?? syncDefaults.gen);

  const scratch = await mkdtemp(join(project, ".gen-"));
  let isNeeded = false;
  try {
    return await withProjectLock(project, scratch, async () => {
      const oldLock = (await filesIn(out)).includes(lockFileName) ? await readLock(out) : undefined;
      await assertReplaceable({ project, out, gen, oldLock });
      return syncInto({ project, out, gen, scratch, oldLock, signal: options.signal }, options);
    });
  } catch (error) {
    isNeeded = error instanceof PutBackError;
    throw error;
  } finally {
    const failure = isNeeded ? undefined : await removeScratch(scratch);
    if (failure !== undefined) options.onProgress?.(`a folder of this run is still there: ${failure.message}`);
  }
}

async function syncInto(folders: Folders, options: SyncOptions): Promise<SyncResult> {
  const { scratch, project, signal } = folders;
  const progress = options.onProgress ?? (() => {});
  await writeBufConfig(scratch, project);
  const files = await readSources(options, progress);
  progress(`compiling the roots and their imports, of ${files.size} files`);
  await vendorClosure(scratch, files, wantedRoots(folders, options) ?? syncDefaults.roots, folders);
  const set = await compileProtos(scratch, folders);
  const result = await describeTree(folders, options, set);
  if (!result.applied) return result;

  progress("generating TypeScript");
  await generateTypes(scratch, scratch, { ...folders, set });
  signal?.throwIfAborted();
  return { ...result, typeCheck: await putInPlace(folders, options, progress) };
}

/** Gives the new tree its lock, and tells what it is. */
async function describeTree(folders: Folders, options: SyncOptions, set: FileDescriptorSet): Promise<SyncResult> {
  // One after the other: where one fails, no other may still write into the scratch folder.
  const before = await compileOldTree(folders);
  const lint = await tryBuf(folders.scratch, ["lint"], folders);
  const breaking = await breakingFindings(before, folders);
  const digest = wireDigest(set);
  const report = reportChanges(before, { versions: versionsOf(options), set });
  return {
    report,
    applied: report.refusals.length === 0 || (options.allowBreaking ?? syncDefaults.allowBreaking),
    files: await finishTree(folders, options, digest),
    wireDigest: digest,
    lint: lint.complaints,
    breaking,
    typeCheck: "skipped",
  };
}

/** The project can be type-checked only with the new folders where the old ones were. */
async function putInPlace(
  { project, out, gen, scratch, signal }: Folders,
  options: SyncOptions,
  progress: (line: string) => void,
): Promise<SyncResult["typeCheck"]> {
  const swaps = [
    { fresh: join(scratch, "protos"), target: out },
    { fresh: join(scratch, "gen"), target: gen },
  ];
  const isChecked = options.typeCheck ?? syncDefaults.typeCheck;
  progress(isChecked ? "putting the new folders in place, and type-checking the project" : "putting the new folders in place");
  const putBack = await swapFolders(swaps, scratch);
  if (!isChecked) return "skipped";
  try {
    return await checkTypes(project, gen, signal);
  } catch (error) {
    return putBack(error);
  }
}

/** Both trees as one; TensorFlow's file where both have it. */
async function readSources({ tensorflow, serving, signal }: SyncOptions, progress: (line: string) => void): Promise<ProtoFiles> {
  const files: ProtoFiles = new Map();
  for (const source of [serving, tensorflow]) {
    progress(`reading ${describeSource(source)}`);
    for (const [path, bytes] of await readSource(source, signal)) files.set(path, bytes);
  }
  return assertNoClash(files, `${describeSource(serving)} with ${describeSource(tensorflow)}`);
}

async function compileOldTree(folders: Folders): Promise<CompiledTree | undefined> {
  const { out, scratch, project, oldLock } = folders;
  if (oldLock === undefined) return undefined;
  const { tensorflow, serving } = oldLock;
  const folder = join(scratch, "old");
  await copyFiles(out, join(folder, "protos"), (path) => path.endsWith(".proto"));
  await writeBufConfig(folder, project);
  const set = await compileProtos(folder, folders).catch((cause: unknown) => {
    folders.signal?.throwIfAborted();
    throw new ServingError(`${out}: the old tree, to which the new one is compared, is broken: ${(cause as Error).message}`, {
      code: "FAILED_PRECONDITION",
      hint: "put its files back as they were, or delete the folder and that of the generated code",
      cause,
    });
  });
  return { versions: { tensorflow, serving }, set };
}

/** As asked for, else as last time; `undefined` for the default ones. */
function wantedRoots({ oldLock }: Folders, options: SyncOptions): readonly string[] | undefined {
  return options.roots ?? oldLock?.roots;
}

/** Findings are told and decide nothing: buf takes a renamed oneof for a break, too. */
async function breakingFindings(before: CompiledTree | undefined, folders: Folders): Promise<readonly string[]> {
  if (before === undefined) return [];
  await writeFile(join(folders.scratch, "old.binpb"), toBinary(FileDescriptorSetSchema, before.set));
  return (await tryBuf(folders.scratch, ["breaking", "--against", "old.binpb"], folders)).complaints;
}

/**
 * What stands in the folder of the tree besides upstream's files: the lock, and what somebody put there, such as a README.
 *
 * @returns The number of upstream's files.
 */
async function finishTree(folders: Folders, options: SyncOptions, digest: string): Promise<number> {
  const { scratch, out } = folders;
  const tree = join(scratch, "protos");
  const files = await hashProtoTree(tree);
  await copyFiles(out, tree, (path) => !path.endsWith(".proto"));
  const isLocal = options.tensorflow.directory !== undefined || options.serving.directory !== undefined;
  const origin = isLocal ? "directory" : "archive";
  await writeLock(tree, { ...versionsOf(options), origin, roots: wantedRoots(folders, options), wireDigest: digest, files });
  return Object.keys(files).length;
}

async function checkTypes(project: string, gen: string, signal: AbortSignal | undefined): Promise<SyncResult["typeCheck"]> {
  const errors = await typeCheck(project, gen, signal);
  if (errors === undefined) return "skipped";
  const [first, ...more] = errors;
  if (first === undefined) return "passed";
  throw new ServingError(`type check with the new code: ${first}; ${more.length} more errors; the old folders are back`, {
    code: "FAILED_PRECONDITION",
    hint: "--no-type-check keeps the new folders, to mend the project's code with them",
  });
}

/** Replacing a folder must not take away what nobody can generate again. */
async function assertReplaceable({ project, out, gen, oldLock }: Pick<Folders, "project" | "out" | "gen" | "oldLock">): Promise<void> {
  for (const [folder, other] of [
    [out, project],
    [gen, project],
    [out, gen],
    [gen, out],
  ] as const) {
    if (isInside(other, folder)) throw new RangeError(`${folder}: expected a folder of its own, got one that has ${other} in it`);
  }
  for (const folder of [out, gen]) {
    const special = await findSpecial(folder);
    if (special !== undefined) throw new RangeError(`${special}: expected a file or folder, got a link or the like, which would be lost`);
  }
  const locked = oldLock?.files ?? {};
  const foreign = (await filesIn(out)).find((path) => path.endsWith(".proto") && !Object.hasOwn(locked, path));
  if (foreign !== undefined) {
    throw new RangeError(`${out}: expected no folder, or one whose .proto files are in its ${lockFileName}, got ${foreign}`);
  }
  for (const path of await filesIn(gen)) {
    if (isMadeFrom(oldLock, path) && isGenerated(await readFile(join(gen, path), "utf8"))) continue;
    throw new RangeError(`${gen}: expected no folder, or one of code generated from the tree in ${out}, got ${path}`);
  }
}

/** Whether a path in the folder of the code is one that is generated from the tree of a lock; without lock, none is. */
function isMadeFrom(lock: ProtosLock | undefined, path: string): boolean {
  if (lock === undefined || !path.endsWith(".ts")) return false;
  return path === configDescriptorsName || isCompilersFile(path) || Object.hasOwn(lock.files, path.replace(/\.ts$/, ".proto"));
}

function isGenerated(text: string): boolean {
  return /^\/\/ (?:Code g|G)enerated by /.test(text);
}

function isInside(path: string, folder: string): boolean {
  const way = relative(folder, path);
  return way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

function versionsOf({ tensorflow, serving }: SyncOptions): { tensorflow: string; serving: string } {
  return { tensorflow: tensorflow.version, serving: serving.version };
}
