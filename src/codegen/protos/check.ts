/** Whether a proto tree is what its lock says, and the generated code what the tree says. */
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { FormatError } from "../../errors.js";
import { descriptorsOf, generateTypes, tryCompile, writeBufConfig } from "./buf.js";
import { explain } from "./closure.js";
import { compareTrees } from "./compare-trees.js";
import { copyFiles, filesIn } from "./files-below.js";
import { checkLock, lockFileName, readLock } from "./lock.js";
import { removeScratch } from "./scratch.js";
import { syncDefaults } from "./sync.js";
import { wireDigest } from "./wire-digest.js";

/** Which folders are checked. */
export interface CheckOptions {
  /** Folder whose packages are used; the folders below are relative to it. */
  readonly project: string;
  /** Folder of the proto tree. @defaultValue "protos" */
  readonly out?: string | undefined;
  /** Folder of the generated TypeScript. @defaultValue "gen" */
  readonly gen?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * One sentence for each file that is not the lock's or the generator's, for a wire digest or an import that is wrong, or for a tree whose
 * lock is missing or broken; none if the tree equals its lock, is complete, and the generated code is current. Nothing is written into either folder.
 *
 * @throws ServingError if a tool is missing.
 */
export async function checkProtos(options: CheckOptions): Promise<string[]> {
  const project = resolve(options.project);
  const { out: name = syncDefaults.out, gen = syncDefaults.gen } = options;
  const out = resolve(project, name);
  if (!(await filesIn(out)).includes(lockFileName)) return [`${name}: no ${lockFileName}: run protos sync`];
  const lock = await readLock(out).catch(brokenLock);
  if (typeof lock === "string") return [lock];
  const findings = (await checkLock(out, lock)).map((finding) => `${name}/${finding}`);

  const scratch = await mkdtemp(join(tmpdir(), "tfserving-protos-"));
  const buf = { project, signal: options.signal };
  try {
    await writeBufConfig(scratch, project);
    await copyFiles(out, join(scratch, "protos"), (path) => path.endsWith(".proto"));
    const compiled = await tryCompile(scratch, buf);
    const { complaints } = compiled;
    const names = { shownAs: `${name}/`, absent: "the tree lacks this file" };
    if (complaints.length > 0) return [...findings, await explain(join(scratch, "protos"), complaints, names)];

    const set = descriptorsOf(compiled);
    const digest = wireDigest(set);
    if (digest !== lock.wireDigest) findings.push(`${name}: expected wire digest ${lock.wireDigest}, got ${digest}`);
    await generateTypes(scratch, scratch, { ...buf, set });
    const differences = await compareTrees(join(scratch, "gen"), resolve(project, gen));
    return [...findings, ...differences.map((finding) => `${gen}/${finding}`)];
  } finally {
    await removeScratch(scratch);
  }
}

function brokenLock(error: unknown): string {
  if (error instanceof FormatError) return error.message;
  throw error;
}
