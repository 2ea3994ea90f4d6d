/** The commands of docs/new-tensorflow-version.md, as they are written there. */
import { execFile } from "node:child_process";
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readLock } from "../../../src/codegen/protos/lock.js";
import { type CannedRestServer, startCannedRestServer } from "../../support/canned-rest-server.js";
import { copyProject, type ProjectCopy } from "./project-copy.js";
import { releaseArchive } from "./tar-of.js";
import { knownVersions, upstreamTrees } from "./upstream-trees.js";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const page = await readFile(join(root, "docs/new-tensorflow-version.md"), "utf8");

/** With it everything is copied, and the commands that run all tests of the copy are run too: many minutes. */
const all = process.env["TFSERVING_ALL_COMMANDS"] === "1";
const runsTests = (command: string) => /^npm (?:run )?test/.test(command);
const timeoutMs = all ? 1_800_000 : 300_000;

/** What the copy holds; a subset that is type-checked in a few seconds, or everything but what is made from it. */
const smallCopy = ["package.json", "package-lock.json", "buf.yaml", "buf.gen.yaml", "src", "gen", "protos", "scripts"];
const notCopied = ["node_modules", "dist", ".git"];

/** The commands in a section of the page. */
function commandsOf(heading: string): string[] {
  const section = page.split(/^## /m).find((text) => text.startsWith(`${heading}\n`));
  if (section === undefined) throw new Error(`no section ${heading}`);
  return [...section.matchAll(/^```sh\n(.*?)^```/gms)].flatMap(([, lines = ""]) => lines.trim().split("\n"));
}

let server: CannedRestServer;

/** Run a command line in a folder; gives its output if its exit code is 0. */
async function shell(command: string, folder: string): Promise<string> {
  const url = (name: string) => `${server.url}/${name}/{version}.tar.gz`;
  const env = { ...process.env, TFSERVING_TENSORFLOW_URL: url("tensorflow"), TFSERVING_SERVING_URL: url("serving"), NO_COLOR: "1" };
  // The copy's own tests include this one, which must not run them again; and Vitest in Vitest is told apart by its variables.
  for (const name of Object.keys(env))
    if (/^(?:VITEST|TFSERVING_ALL_COMMANDS$|NODE_ENV$)/.test(name)) delete (env as NodeJS.ProcessEnv)[name];
  return new Promise((resolve, reject) => {
    execFile("sh", ["-c", command], { cwd: folder, env, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${command}: exit code ${error.code}\n${stdout.slice(-4000)}${stderr.slice(-4000)}`));
    });
  });
}

beforeAll(async () => {
  const archives = new Map<string, Buffer>();
  for (const version of Object.keys(knownVersions)) {
    const trees = await upstreamTrees(version);
    for (const name of ["tensorflow", "serving"] as const) {
      archives.set(`/${name}/${version}.tar.gz`, releaseArchive(`${name}-${version}`, trees[name]));
    }
  }
  server = await startCannedRestServer(({ target }) => {
    const body = archives.get(target);
    return body === undefined ? { status: 404 } : { status: 200, body };
  });
});
afterAll(() => server.close());

/** One test for each command of a section, in their order: each goes on where the one before stopped. */
function runCommandsOf(heading: string, folder: () => string): void {
  for (const command of commandsOf(heading)) {
    it.skipIf(runsTests(command) && !all)(command, { timeout: timeoutMs }, () => shell(command, folder()));
  }
}

describe("the commands for maintainers", () => {
  let copy: ProjectCopy;
  beforeAll(async () => {
    copy = await copyProject(all ? (await readdir(root)).filter((name) => !notCopied.includes(name)) : smallCopy);
    const config = JSON.parse(await readFile(join(root, "tsconfig.json"), "utf8")) as object;
    if (!all) await writeFile(join(copy.folder, "tsconfig.json"), JSON.stringify({ ...config, include: ["src", "gen"] }));
  }, timeoutMs);
  afterAll(() => copy.remove());

  const lock = () => readLock(join(copy.folder, "protos"));

  runCommandsOf("1. Take the interface", () => copy.folder);
  runCommandsOf("2. Keep facts only", () => copy.folder);
  it("have made a rendered tree of 2.21.0", async () => {
    expect(await lock()).toMatchObject({ tensorflow: "2.21.0", origin: "rendered", wireDigest: knownVersions["2.21.0"]?.wireDigest });
  });
  runCommandsOf("3. Look what it means", () => copy.folder);
  runCommandsOf("Back again", () => copy.folder);
  it("have made the tree of 2.20.0 again", async () => {
    expect(await lock()).toMatchObject({ tensorflow: "2.20.0", wireDigest: knownVersions["2.20.0"]?.wireDigest });
  });
});

describe("the commands for other projects", () => {
  let project: string;
  const commands = commandsOf("In your own project");

  async function install(...packages: readonly string[]): Promise<void> {
    for (const name of packages) {
      await mkdir(dirname(join(project, "node_modules", name)), { recursive: true });
      await symlink(join(root, "node_modules", name), join(project, "node_modules", name), "junction");
    }
  }

  beforeAll(async () => {
    project = await mkdtemp(join(tmpdir(), "tfserving-user-"));
    // As npm installs it, but with sources instead of what is built from them.
    const own = join(project, "node_modules/tfserving");
    for (const name of ["package.json", "buf.yaml", "buf.gen.yaml", "src"])
      await cp(join(root, name), join(own, name), { recursive: true });
    await install("commander", "@bufbuild/protobuf", "@grpc/grpc-js", "long", "undici", "typescript", "@types/node");
    const bin = join(project, "node_modules/.bin/tfserving");
    await mkdir(dirname(bin), { recursive: true });
    await writeFile(bin, `#!/bin/sh\nexec "${join(root, "node_modules/.bin/tsx")}" "${join(own, "src/cli/bin.ts")}" "$@"\n`);
    await chmod(bin, 0o755);

    const compilerOptions = { strict: true, module: "nodenext", target: "es2022", noEmit: true, types: ["node"] };
    await writeFile(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions }));
    await writeFile(join(project, "package.json"), JSON.stringify({ name: "user", private: true, type: "module" }));
    // Its own configuration of buf is for files of its own.
    await writeFile(join(project, "buf.yaml"), "version: v2\nmodules:\n  - path: other\n");
    await mkdir(join(project, "src"));
    await writeFile(join(project, "src/use.ts"), 'export { PredictRequest } from "./gen/tensorflow_serving/apis/predict.js";\n');
  });
  afterAll(() => rm(project, { recursive: true, force: true }));

  it("say what to install, where it is missing", { timeout: timeoutMs }, async () => {
    const before = await readdir(project);
    await expect(shell(commands[0] ?? "", project)).rejects.toThrow(
      /exit code 1\n(?:.*\n)*error: (?:@bufbuild\/buf|ts-proto) is not installed: npm install --save-dev @bufbuild\/buf ts-proto\n/,
    );
    expect(await readdir(project)).toEqual(before);
    await install("@bufbuild/buf", "ts-proto");
  });

  runCommandsOf("In your own project", () => project);

  it("have made folders that type-check, and nothing else", async () => {
    expect((await readdir(project)).sort()).toEqual(["buf.yaml", "node_modules", "package.json", "src", "tsconfig.json"]);
    expect((await readdir(join(project, "src"))).sort()).toEqual(["gen", "protos", "use.ts"]);
  });

  it("tell as JSON and by the exit code what is wrong", { timeout: timeoutMs }, async () => {
    await rm(join(project, "src/gen/google/protobuf/any.ts"));
    await expect(shell(`${commands[1]} --json`, project)).rejects.toThrow(
      /exit code 1\n\{\n {2}"findings": \[\n {4}"src\/gen\/google\/protobuf\/any\.ts: missing"\n {2}\]\n\}\n/,
    );
    await expect(shell("npx tfserving protos sync --tensorflow 2.20.0 --serving 2.20", project)).rejects.toThrow(
      /exit code 2\n(?:.*\n)*error: --serving: expected a version such as 2\.20\.0, got "2\.20"\n/,
    );
    await expect(shell("npx tfserving protos sync --tensorflow 2.20.0", project)).rejects.toThrow(/exit code 2\n/);
    const nobody = await startCannedRestServer();
    await nobody.close();
    const unreachable = `npx tfserving protos sync --tensorflow 2.20.0 --serving 2.20.0 --out src/protos --gen src/gen --serving-url ${nobody.url}/{version}`;
    await expect(shell(unreachable, project)).rejects.toThrow(/exit code 3\n/);
  });
});
