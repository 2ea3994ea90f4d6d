/** `npm run gen`: regenerate `gen/` from `protos/`. The old tree stays until the new one is complete. */
import { mkdtemp, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { generateTypes } from "../src/codegen/protos/buf.js";

const root = fileURLToPath(new URL("..", import.meta.url));
// Inside the project, because a rename works within one file system only.
const scratch = await mkdtemp(join(root, ".gen-"));
try {
  await generateTypes(root, scratch);
  await rm(join(root, "gen"), { recursive: true, force: true });
  await rename(join(scratch, "gen"), join(root, "gen"));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  await rm(scratch, { recursive: true, force: true });
}
