/**
 * Render a proto tree and its lock from descriptor facts:
 *
 *     tsx scripts/render-protos.ts <descriptors.json> [--out protos] [--tensorflow 2.20.0] [--serving 2.20.0]
 *
 * The `.proto` files below the output folder are replaced as a whole; other files in it (README.md), and the roots in its lock, stay.
 */
import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { assertProtoPath } from "../src/codegen/protos/descriptor-names.js";
import { readDescriptorSet } from "../src/codegen/protos/descriptor-set.js";
import { filesIn } from "../src/codegen/protos/files-below.js";
import { hashProtoTree, lockFileName, readLock, writeLock } from "../src/codegen/protos/lock.js";
import { renderProto } from "../src/codegen/protos/render-proto.js";
import { assertVersion } from "../src/codegen/protos/versions.js";
import { wireDigest } from "../src/codegen/protos/wire-digest.js";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    out: { type: "string", default: "protos" },
    tensorflow: { type: "string", default: "2.20.0" },
    serving: { type: "string", default: "2.20.0" },
  },
});
const [source, ...others] = positionals;
if (source === undefined || others.length > 0) {
  console.error("usage: tsx scripts/render-protos.ts <descriptors.json> [--out protos] [--tensorflow X] [--serving Y]");
  process.exit(2);
}

for (const name of ["tensorflow", "serving"] as const) assertVersion(options[name], `--${name}`);
const set = await readDescriptorSet(source);
const oldLock = (await filesIn(options.out)).includes(lockFileName) ? await readLock(options.out) : undefined;
// Everything is rendered before anything is removed: a refused file leaves the old tree as it was.
const texts = set.file.map((file) => ({ path: assertProtoPath(file.name), text: renderProto(file) }));
for (const path of Object.keys(await hashProtoTree(options.out).catch(() => ({})))) await rm(join(options.out, path));
for (const { path, text } of texts) {
  await mkdir(dirname(join(options.out, path)), { recursive: true });
  await writeFile(join(options.out, path), text);
}
const digest = wireDigest(set);
await writeLock(options.out, {
  tensorflow: options.tensorflow,
  serving: options.serving,
  origin: "rendered",
  roots: oldLock?.roots,
  wireDigest: digest,
  files: await hashProtoTree(options.out),
});
console.log(`${options.out}: ${texts.length} files, wire digest ${digest}`);
