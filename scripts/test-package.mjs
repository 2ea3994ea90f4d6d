/**
 * Install the packed package into empty projects and use it as its users do: ESM, CommonJS, the contract suite, and type checks with
 * the current TypeScript and with the oldest one supported.
 *
 * Usage: node scripts/test-package.mjs [--report FILE]. The report has the counts of a Vitest JSON report.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { bundleContract } from "./bundle-contract.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values: options } = parseArgs({ options: { report: { type: "string" } } });
const folder = mkdtempSync(join(tmpdir(), "tfserving-package-"));

/** What a user writes, in both module systems: the body of the script, after its imports. */
const body = `
const halfPlusTwo = servable({
  signatures: { serving_default: { inputs: { x: { dtype: "float32", shape: [null] } }, outputs: { y: { dtype: "float32", shape: [null] } } } },
  predict: ({ x }) => ({ y: tensor("float32", x.shape, x.as("float32").values.map((value) => value / 2 + 2)) }),
});

async function main() {
  const server = await startModelServer({ models: { half_plus_two: halfPlusTwo } });
  try {
    for (const target of [server.grpcTarget, server.restTarget]) {
      const client = new PredictionClient(target);
      try {
        const { outputs } = await client.predict("half_plus_two", { x: tensor("float32", [3], [1, 2, 5]) });
        console.log(outputs["y"]?.as("float32").values.join());
      } finally {
        await client.close();
      }
    }
  } finally {
    await server.close();
  }
}
void main();
`;
const esmImports = `import { PredictionClient, tensor } from "tfserving";\nimport { servable, startModelServer } from "tfserving/server";\n`;
const cjsImports = `const { PredictionClient, tensor } = require("tfserving");\nconst { servable, startModelServer } = require("tfserving/server");\n`;
const typeChecks = `
const ids: BigInt64Array = tensor("int64", [2], [1n, 2n]).values;
// @ts-expect-error int64 values are a BigInt64Array, not a Float32Array
const wrong: Float32Array = tensor("int64", [2], [1n, 2n]).values;
void ids, void wrong;
`;
/** Module hooks that print what is loaded. */
const hooks = `
import { writeSync } from "node:fs";
export async function load(url, context, next) {
  writeSync(1, url + "\\n");
  return next(url, context);
}
`;
const predictOnce = `
import { register } from "node:module";
register("./hooks.mjs", import.meta.url);
const { PredictionClient, tensor } = await import("tfserving");
const client = new PredictionClient(process.argv[2]);
const { outputs } = await client.predict("half_plus_two", { x: tensor("float32", [1], [1]) });
if (outputs.y.values[0] !== 2.5) throw new Error("wrong answer");
await client.close();
`;
/** The offline entries; none of them loads a transport. */
const offline = `
import { parseModelServerConfig } from "tfserving/config";
import { readSavedModel } from "tfserving/saved-model";
import { predictRecord, readWarmupFile, writeWarmupFile } from "tfserving/warmup";
const signature = { methodName: "tensorflow/serving/predict", inputs: { x: { dtype: "float32", shape: [null] } }, outputs: {} };
const { path } = await writeWarmupFile(".", [predictRecord("m", { x: [1, 2] })], { signatures: { serving_default: signature } });
for await (const record of readWarmupFile(path)) if (record.inputs.x.dtype !== "float32") throw new Error("wrong dtype");
if (parseModelServerConfig('model_config_list { config { name: "m" } }').models[0].name !== "m") throw new Error("wrong name");
const error = await readSavedModel(".").catch((reason) => reason);
if (error.code !== "NOT_FOUND") throw error;
const loaded = process.moduleLoadList.filter((name) => /NativeModule (http|http2|tls)$/.test(name));
if (loaded.length > 0) throw new Error("loaded: " + loaded.join());
`;
/** The server runs in another process than the client whose modules are listed. */
const serve = `${body.slice(0, body.indexOf("async function main"))}
import { execFile } from "node:child_process";
const server = await startModelServer({ models: { half_plus_two: halfPlusTwo } });
const target = process.argv[2] === "grpc" ? server.grpcTarget : server.restTarget;
execFile(process.execPath, ["predict-once.mjs", target], async (error, stdout, stderr) => {
  process.stdout.write(stdout);
  process.stderr.write(stderr);
  if (error) process.exitCode = 1;
  await server.close();
});
`;
const expected = "2.5,3,4.5\n2.5,3,4.5\n";

/** @type {{ title: string, error?: unknown }[]} */
const results = [];

try {
  const tarball = pack();
  const current = project("current", "module", tarball, "typescript@~6.0.3", "@types/node@^20");
  const oldest = project("oldest", "module", tarball, "typescript@~5.7.3", "@types/node@^20");
  const commonjs = project("commonjs", "commonjs", tarball, "typescript@~6.0.3", "@types/node@^20");

  write(current, "main.ts", esmImports + body + typeChecks);
  write(current, "main.mjs", esmImports + body);
  write(oldest, "main.ts", esmImports + body + typeChecks);
  write(commonjs, "main.cjs", cjsImports + body);
  write(commonjs, "main.ts", esmImports + body + typeChecks);

  check("an ES module predicts over gRPC and REST", () => expectOutput(current, "main.mjs"));
  check("a CommonJS script predicts over gRPC and REST", () => expectOutput(commonjs, "main.cjs"));
  check("a TypeScript ES module type-checks", () => typeCheck(current));
  check("a TypeScript ES module type-checks with TypeScript 5.7", () => typeCheck(oldest));
  check("a TypeScript CommonJS project (module: nodenext) type-checks and runs", () => {
    typeCheck(commonjs, "--noEmit", "false", "--outDir", "out");
    expectOutput(commonjs, "out/main.js");
  });
  check("importing the main entry loads no transport", () => {
    const script = `
      import "tfserving";
      const loaded = process.moduleLoadList.filter((name) => /NativeModule (http|http2|tls)$/.test(name));
      if (loaded.length > 0) throw new Error("loaded: " + loaded.join());
    `;
    write(current, "lean.mjs", script);
    run(current, process.execPath, ["lean.mjs"]);
  });
  check("the offline entries work and load no transport", () => {
    write(current, "offline.mjs", offline);
    run(current, process.execPath, ["offline.mjs"]);
  });
  check("the command tells its version and help, and refuses an unknown command with code 2", () => {
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    const tfserving = join(current, "node_modules/tfserving/dist/cli.js");
    if (run(current, process.execPath, [tfserving, "--version"]) !== `${version}\n`) throw new Error("wrong version");
    const help = run(current, process.execPath, [tfserving, "--help"]);
    if (!help.includes("types") || !help.includes("protos")) throw new Error(`printed ${help}`);
    const { status } = spawnSync(process.execPath, [tfserving, "tpyes"], { cwd: current, encoding: "utf8" });
    if (status !== 2) throw new Error(`ended with ${status}`);
  });
  check("the command writes a model's types, which compile", () => {
    const model = join(root, "test/fixtures/saved_models/half_plus_two/00000123");
    const tfserving = join(current, "node_modules/tfserving/dist/cli.js");
    rmSync(join(current, "main.ts"));
    run(current, process.execPath, [tfserving, "types", model, "--out", "main.ts"]);
    typeCheck(current);
  });
  write(current, "hooks.mjs", hooks);
  write(current, "predict-once.mjs", predictOnce);
  write(current, "serve.mjs", esmImports + serve);
  for (const [transport, forbidden] of [
    ["grpc", /undici|@bufbuild|\/long\//],
    ["rest", /@grpc|@bufbuild|\/long\//],
  ]) {
    check(`a tensor predicts over ${transport} without loading the other transport or generated code`, () => {
      const loaded = run(current, process.execPath, ["serve.mjs", String(transport)]).split("\n");
      const stray = loaded.filter((url) => /** @type {RegExp} */ (forbidden).test(url));
      if (stray.length > 0) throw new Error(`loaded: ${stray.join()}`);
      if (!loaded.some((url) => url.includes("/tfserving/dist/"))) throw new Error(`the hooks saw nothing: ${loaded.join()}`);
    });
  }
  await bundleContract(join(current, "contract.mjs"));
  for (const transport of ["in-memory", "gRPC", "REST column", "REST row"]) {
    check(`the contract suite passes over ${transport}`, () => {
      const output = run(current, process.execPath, ["contract.mjs", transport]);
      if (!new RegExp(`^${transport}: [1-9][0-9]{2}\\n$`).test(output)) throw new Error(`printed ${JSON.stringify(output)}`);
      return output.trim().replace(/.*: (.*)/, "$1 cases");
    });
  }
  check("the package holds the vendored protos and no sources", () => {
    const files = readFileSync(join(folder, "files.txt"), "utf8").split("\n");
    for (const wanted of ["dist/index.js", "protos/protos.lock.json", "LICENSE", "README.md"]) {
      if (!files.includes(wanted)) throw new Error(`missing from the package: ${wanted}`);
    }
    const stray = files.filter((path) => /^(src|gen|test|scripts)\//.test(path));
    if (stray.length > 0) throw new Error(`should not be in the package: ${stray.join()}`);
  });
} finally {
  rmSync(folder, { recursive: true, force: true });
}

const failed = results.filter((result) => result.error !== undefined).length;
if (options.report !== undefined) {
  writeFileSync(options.report, JSON.stringify({ numPassedTests: results.length - failed, numFailedTests: failed, numPendingTests: 0 }));
}
if (failed > 0) process.exitCode = 1;

/** Pack the checkout; the list of packed files goes to `files.txt`. @returns {string} The tarball's path. */
function pack() {
  const [packed] = JSON.parse(run(root, "npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder]));
  writeFileSync(join(folder, "files.txt"), packed.files.map((/** @type {{ path: string }} */ file) => file.path).join("\n"));
  return join(folder, packed.filename);
}

/** An empty project with packages installed. @param {string} name @param {string} type @param {...string} packages */
function project(name, type, ...packages) {
  const path = join(folder, name);
  mkdirSync(path);
  write(path, "package.json", JSON.stringify({ name, private: true, type }));
  write(
    path,
    "tsconfig.json",
    JSON.stringify({
      compilerOptions: { module: "nodenext", target: "es2022", strict: true, noEmit: true, skipLibCheck: false, types: ["node"] },
      files: ["main.ts"],
    }),
  );
  run(path, "npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", ...packages]);
  return path;
}

/** @param {string} project @param {...string} flags */
function typeCheck(project, ...flags) {
  run(project, process.execPath, ["node_modules/typescript/bin/tsc", "-p", ".", ...flags]);
}

/** @param {string} project @param {string} script */
function expectOutput(project, script) {
  const output = run(project, process.execPath, [script]);
  if (output !== expected) throw new Error(`${script} printed ${JSON.stringify(output)}, expected ${JSON.stringify(expected)}`);
}

/** Run a program to its end. @param {string} cwd @param {string} command @param {string[]} args @returns {string} Its standard output. */
function run(cwd, command, args) {
  return execFileSync(command, args, { cwd, encoding: "utf8", timeout: 180_000, stdio: ["ignore", "pipe", "pipe"] });
}

/** @param {string} project @param {string} name @param {string} text */
function write(project, name, text) {
  writeFileSync(join(project, name), text);
}

/** @param {string} title @param {() => string | void} test What it gives back is said behind the title. */
function check(title, test) {
  try {
    const remark = test();
    results.push({ title });
    console.log(`ok      ${title}${remark === undefined ? "" : ` (${remark})`}`);
  } catch (error) {
    results.push({ title, error });
    const output = /** @type {{ stdout?: string, stderr?: string }} */ (error);
    console.log(`FAILED  ${title}\n${error}\n${output.stdout ?? ""}${output.stderr ?? ""}`);
  }
}
