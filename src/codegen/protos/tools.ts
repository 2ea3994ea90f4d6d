/** The programs that are run: buf, ts-proto and TypeScript, from the project they are run for. */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { ServingError } from "../../errors.js";

/**
 * Path of a file in an installed package: that of the project, else the one installed beside this package.
 *
 * @returns `undefined` if neither is there.
 */
export function findTool(project: string, packageName: string, path: string): string | undefined {
  for (const from of [join(project, "package.json"), import.meta.url]) {
    const manifest = resolveFrom(from, `${packageName}/package.json`);
    const tool = manifest === undefined ? undefined : join(dirname(manifest), path);
    if (tool !== undefined && existsSync(tool)) return tool;
  }
  return undefined;
}

/** Path of buf, a script for Node. */
export function bufPath(project: string): string {
  return requireTool(project, "@bufbuild/buf", "bin/buf");
}

/** Path of ts-proto's plugin, a script for Node. */
export function tsProtoPath(project: string): string {
  return requireTool(project, "ts-proto", "protoc-gen-ts_proto");
}

/** Path of a file this package brings. */
export function ownFile(path: string): string {
  return join(dirname(createRequire(import.meta.url).resolve("tfserving/package.json")), path);
}

/** Both are wanted by those who generate, so both are named at once. */
function requireTool(project: string, packageName: string, path: string): string {
  const tool = findTool(project, packageName, path);
  if (tool !== undefined) return tool;
  throw new ServingError(`${packageName} is not installed: npm install --save-dev @bufbuild/buf ts-proto`, { code: "FAILED_PRECONDITION" });
}

function resolveFrom(from: string, name: string): string | undefined {
  try {
    return createRequire(from).resolve(name);
  } catch {
    // Not installed there.
    return undefined;
  }
}
