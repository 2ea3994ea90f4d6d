/**
 * Check that what is committed is what the tools make, without writing into the tree:
 * `gen/` equals a fresh generation, `protos/` equals its lock in bytes and in wire digest, and buf's linter is content.
 *
 * Prints one line per finding and ends with 1 if there is any.
 */
import { fileURLToPath } from "node:url";
import { tryBuf } from "../src/codegen/protos/buf.js";
import { checkProtos } from "../src/codegen/protos/check.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const findings = [...(await checkProtos({ project: root })), ...(await tryBuf(root, ["lint"])).complaints];
for (const finding of findings) console.error(finding);
if (findings.length > 0) process.exitCode = 1;
else console.log("protos/ and gen/ are as the lock and the generator say");
