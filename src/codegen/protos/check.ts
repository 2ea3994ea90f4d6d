/** Whether a proto tree is what its lock says, and the generated code what the tree says. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { compileProtos, generateTypes, tryBuf, writeBufConfig } from "./buf.js";
import { compareTrees } from "./compare-trees.js";
import { copyFiles } from "./files-below.js";
import { checkLock, readLock } from "./lock.js";
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
 * One sentence for each file that is not the lock's or the generator's, and for a wire digest or an import that is wrong; none if the tree
 * equals its lock, is complete, and the generated code is current. Nothing is written into either folder.
 *
 * @throws Error if the tree has no lock that can be read.
 * @throws ServingError if a tool is missing.
 */
export async function checkProtos(options: CheckOptions): Promise<string[]> {
  const project = resolve(options.project);
  const out = resolve(project, options.out ?? syncDefaults.out);
  const lock = await readLock(out);
  const name = relative(project, out);
  const findings = (await checkLock(out, lock)).map((finding) => `${name}/${finding}`);

  const scratch = await mkdtemp(join(tmpdir(), "tfserving-protos-"));
  const buf = { project, signal: options.signal };
  try {
    await writeBufConfig(scratch, project);
    await copyFiles(out, join(scratch, "protos"), (path) => path.endsWith(".proto"));
    // What is missing shows here, as an import that is not found.
    const { complaints } = await tryBuf(scratch, ["build"], buf);
    if (complaints.length > 0) return [...findings, ...complaints];

    const digest = wireDigest(await compileProtos(scratch, buf));
    if (digest !== lock.wireDigest) findings.push(`${name}: expected wire digest ${lock.wireDigest}, got ${digest}`);
    await generateTypes(scratch, scratch, buf);
    const gen = options.gen ?? syncDefaults.gen;
    const differences = await compareTrees(join(scratch, "gen"), resolve(project, gen));
    return [...findings, ...differences.map((finding) => `${gen}/${finding}`)];
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}
