/**
 * Check that what is committed is what the tools make, without writing into the tree:
 * `gen/` equals a fresh generation, `protos/` equals its lock in bytes and in wire digest, and buf's linter is content.
 *
 * Prints one line per finding and ends with 1 if there is any.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileProtos, generateTypes, runBuf } from "../src/codegen/protos/buf.js";
import { compareTrees } from "../src/codegen/protos/compare-trees.js";
import { checkLock, readLock } from "../src/codegen/protos/lock.js";
import { wireDigest } from "../src/codegen/protos/wire-digest.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const protos = join(root, "protos");

async function generatedFindings(): Promise<string[]> {
  const scratch = await mkdtemp(join(tmpdir(), "tfserving-gen-"));
  try {
    await generateTypes(root, scratch);
    const findings = await compareTrees(join(scratch, "gen"), join(root, "gen"));
    return findings.map((finding) => `gen/${finding} (npm run gen)`);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function protosFindings(): Promise<string[]> {
  const lock = await readLock(protos);
  const findings = await checkLock(protos, lock);
  const digest = wireDigest(await compileProtos(root));
  if (digest !== lock.wireDigest) findings.push(`wire digest: expected ${lock.wireDigest}, got ${digest}`);
  return findings.map((finding) => `protos/${finding}`);
}

async function lintFindings(): Promise<string[]> {
  return runBuf(root, ["lint"]).then(
    () => [],
    (error: Error) => [error.message],
  );
}

const findings = [...(await protosFindings()), ...(await generatedFindings()), ...(await lintFindings())];
for (const finding of findings) console.error(finding);
if (findings.length > 0) process.exitCode = 1;
else console.log("protos/ and gen/ are as the lock and the generator say");
