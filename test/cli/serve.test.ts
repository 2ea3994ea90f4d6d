import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run } from "../../src/cli/main.js";
import { type ServerFlags, serverFlags, serverOptionsFrom } from "../../src/cli/server-flags.js";
import { PredictionClient } from "../../src/client/prediction-client.js";
import { GoldenFolders } from "../server/golden-folders.js";
import { examplesIn } from "../support/page-examples.js";
import { type Ran, tfserving } from "./captured.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** The module in the documentation. */
const [example = ""] = examplesIn("docs/server.md");
const freePorts = ["--port=0", "--rest_api_port=0"];

let folder: string;
const path = (name: string) => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tfserving-serve-"));
  const servable = "{ signatures: {}, predict: () => ({}) }";
  const files = {
    "load.mjs": `export default () => (${servable});`,
    "models.mjs": `export default { one: { 3: ${servable} } };`,
    "broken.mjs": 'export default (versionDir, { name, version }) => { throw new Error(["no", name, version].join(" ")); };',
    "nothing.mjs": "export const models = {};",
    "busy.mjs": `setInterval(() => {}, 60_000); export default { one: { 3: ${servable} } };`,
    "half-plus-two.mjs": example.replace("tfserving/server", new URL("../../src/server/index.ts", import.meta.url).href),
    "batching.config": "max_batch_size { value: 4 }",
    "monitoring.config": 'prometheus_config { enable: true path: "/numbers" }',
    "damaged.config": "max_batch_size: {",
    "zero.config": "",
  };
  for (const [name, text] of Object.entries(files)) await writeFile(path(name), text);
  await mkdir(path("base/7"), { recursive: true });
  await mkdir(path("empty"));
});
afterAll(() => rm(folder, { recursive: true }));

/** The program in this process, until its server has started and is told to stop. */
async function served(args: readonly string[], use: (rest: string) => Promise<void> = async () => undefined): Promise<Ran> {
  const written = { stdout: "", stderr: "" };
  let used = Promise.resolve();
  const whenStarted = (line: string) => {
    written.stdout += line;
    used = use(/http\S+/.exec(line)?.[0] ?? "").finally(() => process.emit("SIGTERM"));
  };
  const stderr = {
    write: (text: string) => {
      written.stderr += text;
    },
  };
  const exitCode = await run(["serve", ...freePorts, ...args], { stdout: { write: whenStarted }, stderr });
  await used;
  return { exitCode, ...written };
}

/** The options that flags stand for. */
function optionsOf(...args: string[]) {
  const command = new Command();
  for (const flag of serverFlags()) command.addOption(flag);
  return serverOptionsFrom(command.parse(args, { from: "user" }).opts<ServerFlags>());
}

const started = /^gRPC on 127\.0\.0\.1:\d+, REST on http:\/\/127\.0\.0\.1:\d+\n$/;

describe("tfserving serve", () => {
  it("serves the models of a module over gRPC and REST until SIGTERM, and ends with 0", async () => {
    const args = ["--import", "tsx", "src/cli/bin.ts", "serve", "--servable", path("half-plus-two.mjs"), ...freePorts];
    const child = spawn(process.execPath, args, { cwd: root, stdio: ["ignore", "pipe", "ignore"] });
    try {
      const [line] = await once(child.stdout.setEncoding("utf8"), "data");
      expect(line).toMatch(started);
      for (const [target = ""] of line.matchAll(/\S+:\d+/g)) {
        const client = new PredictionClient(target);
        const { outputs } = await client.predict("half_plus_two", { x: [1, 2, 5] });
        expect(outputs.y?.toNested()).toEqual([2.5, 3, 4.5]);
        await client.close();
      }
      child.kill("SIGTERM");
      expect(await once(child, "exit")).toEqual([0, null]);
    } finally {
      child.kill("SIGKILL");
    }
  });

  it("ends, though its models would go on", async () => {
    const args = ["--import", "tsx", "src/cli/bin.ts", "serve", "--servable", path("busy.mjs"), ...freePorts];
    const child = spawn(process.execPath, args, { cwd: root, stdio: ["ignore", "pipe", "ignore"] });
    try {
      await once(child.stdout, "data");
      child.kill("SIGTERM");
      expect(await once(child, "exit")).toEqual([0, null]);
    } finally {
      child.kill("SIGKILL");
    }
  });

  it("ends with 0 while it waits for the first version of a model", async () => {
    const args = ["--import", "tsx", "src/cli/bin.ts", "serve", "--model_base_path", path("empty"), "--like=this", ...freePorts];
    const child = spawn(process.execPath, args, { cwd: root, stdio: ["ignore", "ignore", "pipe"] });
    try {
      const [text] = await once(child.stderr.setEncoding("utf8"), "data");
      expect(text).toMatch(/^unknown argument: --like=this\n/);
      child.kill("SIGINT");
      expect(await once(child, "exit")).toEqual([0, null]);
    } finally {
      child.kill("SIGKILL");
    }
  });

  it("makes servables of version folders, and tells what becomes of them", async () => {
    const { exitCode, stdout, stderr } = await served(["--servable", path("load.mjs"), "--model_base_path", path("base")]);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(started);
    expect(stderr).toBe("default version 7: START\ndefault version 7: LOADING\ndefault version 7: AVAILABLE\n");
  });

  it("serves the models of a module beside those of a base path", async () => {
    const flags = ["--servable", path("models.mjs"), "--monitoring_config_file", path("monitoring.config")];
    await served([...flags, "--rest_api_enable_cors_support"], async (rest) => {
      const response = await fetch(`${rest}/v1/models/one`);
      expect(await response.json()).toMatchObject({ model_version_status: [{ version: "3", state: "AVAILABLE" }] });
      expect(response.headers.get("access-control-allow-origin")).toBe("*");
      expect((await fetch(`${rest}/numbers`)).status).toBe(200);
    });
    const options = await optionsOf(...flags, "--model_name=two", "--model_base_path=/models/two");
    expect(options.models).toEqual({ one: { 3: expect.anything() }, two: "/models/two" });
  });

  it("warns of flags it does not know, in one line, and goes on", async () => {
    const { exitCode, stderr } = await served(["--num_load_threads=4", "--servable", path("models.mjs"), "--tensorflow\u001b", "x"]);
    expect(exitCode).toBe(0);
    expect(stderr).toMatch(/^unknown argument: --num_load_threads=4 --tensorflow\\u\{1b\} x\none version 3: START\n/);
  });

  it("leaves no listener behind", async () => {
    const listeners = () => process.listenerCount("SIGTERM") + process.listenerCount("SIGINT");
    const before = listeners();
    await served(["--servable", path("models.mjs")]);
    await tfserving("serve");
    expect(listeners()).toBe(before);
  });
});

describe("serverOptionsFrom", () => {
  it("has the real server's defaults, and a REST port", async () => {
    const { maxGrpcThreads, ...options } = await optionsOf("--model_base_path=/m");
    expect(maxGrpcThreads).toBeGreaterThanOrEqual(4);
    expect(options).toEqual({
      models: { default: "/m" },
      loadServable: undefined,
      // Nobody loads folders without --servable.
      maxLoadRetries: 0,
      host: "127.0.0.1",
      grpcPort: 8500,
      restPort: 8501,
      modelConfigFilePollMs: 0,
      fileSystemPollMs: 1000,
      allowVersionLabelsForUnavailableModels: false,
      loadRetryIntervalMs: 60_000,
      enableModelWarmup: true,
      batching: undefined,
      monitoring: undefined,
      restTimeoutMs: 30_000,
      enableRestCors: false,
      enableHealthService: false,
      enableSignatureMethodNameCheck: false,
      enableSerializationAsTensorContent: false,
    });
    expect((await optionsOf("--model_base_path=/m", "--servable", path("load.mjs"))).maxLoadRetries).toBe(5);
  });

  it.each<[string[], object]>([
    [["--port=1", "--port", "2"], { grpcPort: 2 }],
    [["--rest_api_port", "0", "--host=::1"], { restPort: 0, host: "::1" }],
    [["--model_name=m"], { models: { m: "/m" } }],
    [["--model_config_file=f", "--model_config_file_poll_wait_seconds=3"], { modelConfigFile: "f", modelConfigFilePollMs: 3000 }],
    [["--file_system_poll_wait_seconds=0"], { fileSystemPollMs: 0 }],
    [["--load_retry_interval_micros", "2500"], { loadRetryIntervalMs: 2.5 }],
    [["--load_retry_interval_micros", "-1"], { loadRetryIntervalMs: 0 }],
    [["--load_retry_interval_micros=9000000000000"], { loadRetryIntervalMs: 2 ** 31 - 1 }],
    [["--file_system_poll_wait_seconds=31536000"], { fileSystemPollMs: 2 ** 31 - 1 }],
    [["--model_config_file=f", "--model_config_file_poll_wait_seconds=-1"], { modelConfigFilePollMs: 0 }],
    [["--model_config_file_poll_wait_seconds=3"], { modelConfigFilePollMs: 0 }],
    [["--rest_api_timeout_in_ms=-1"], { restTimeoutMs: 0 }],
    [["--enable_model_warmup=false"], { enableModelWarmup: false }],
    [["--enable_model_warmup", "0"], { enableModelWarmup: false }],
    [["--allow_version_labels_for_unavailable_models"], { allowVersionLabelsForUnavailableModels: true }],
    [["--enable_batching=1"], { batching: {} }],
    [["--rest_api_timeout_in_ms=50", "--rest_api_enable_cors_support=true"], { restTimeoutMs: 50, enableRestCors: true }],
    [["--grpc_max_threads=3", "--enable_grpc_healthcheck_service"], { maxGrpcThreads: 3, enableHealthService: true }],
    [["--enable_signature_method_name_check"], { enableSignatureMethodNameCheck: true }],
    [["--enable_serialization_as_tensor_content"], { enableSerializationAsTensorContent: true }],
  ])("takes %j", async (args, options) => {
    expect(await optionsOf("--model_base_path=/m", ...args)).toMatchObject(options);
  });

  it("reads the files of batching and monitoring", async () => {
    const files = [`--batching_parameters_file=${path("batching.config")}`, `--monitoring_config_file=${path("monitoring.config")}`];
    expect(await optionsOf("--model_base_path=/m", "--enable_batching", ...files)).toMatchObject({
      batching: { maxBatchSize: 4 },
      monitoring: { prometheusConfig: { enable: true, path: "/numbers" } },
    });
  });
});

interface ProcessExchange {
  readonly id: string;
  readonly transport: string;
  readonly request: { readonly model_config_file?: string; readonly batching_parameters?: string; readonly flags?: readonly string[] };
  readonly response: { readonly status: string; readonly error?: string | null; readonly text?: string };
}

const recordedStarts = ["flags", "batching"].flatMap((group) => {
  const text = readFileSync(new URL(`../fixtures/golden/${group}.json`, import.meta.url), "utf8");
  return (JSON.parse(text) as { exchanges: ProcessExchange[] }).exchanges.filter(({ transport }) => transport === "process");
});

describe("recorded starts", () => {
  const folders = new GoldenFolders();
  afterAll(() => folders.remove());

  it.each(recordedStarts)("$id", async ({ request, response }) => {
    const { model_config_file: config = folders.config(["half_plus_two"]), batching_parameters: batching, flags = [] } = request;
    const configFile = folders.file("flags-start.config", folders.here(config));
    const batchingFlags = ["--enable_batching", "--batching_parameters_file", folders.file("batching.config", batching ?? "")];
    const args = ["--model_config_file", configFile, "--servable", path("load.mjs"), "--max_num_load_retries=0", ...flags];
    const { exitCode, stdout, stderr } = await served(batching === undefined ? args : [...args, ...batchingFlags]);
    expect(exitCode === 0 ? "starts" : `exit ${exitCode}`).toBe(response.status);
    if (exitCode === 0) return expect(stdout).toMatch(started);
    expect(stdout).toBe("");
    const said = stderr.replaceAll(folders.root, "<dir>");
    expect(said).toContain(response.text ?? `error: ${response.error}\n`);
  });
});

describe("rejects", () => {
  const base = () => ["--model_base_path", path("base")];
  it.each<[string, () => string[], string]>([
    [
      "no models",
      () => [],
      "error: INVALID_ARGUMENT: Both server_options.model_base_path and server_options.model_config_file are empty!\n",
    ],
    [
      "a relative base path",
      () => ["--model_base_path=models"],
      "error: INVALID_ARGUMENT: Expected model default to have an absolute path",
    ],
    ["a missing model list", () => ["--model_config_file=/nowhere"], "error: NOT_FOUND: /nowhere; No such file or directory\n"],
    [
      "batching parameters without batching",
      () => [...base(), "--batching_parameters_file=f"],
      "error: INVALID_ARGUMENT: server_options.batching_parameters_file is set without setting server_options.enable_batching to true.\n",
    ],
    [
      "damaged parameters, and tells where",
      () => [...base(), "--enable_batching", "--batching_parameters_file", path("damaged.config")],
      "damaged.config'\nhint: BatchingParameters, line 1",
    ],
    ["an empty file", () => [...base(), "--monitoring_config_file", path("zero.config")], "zero.config; Invalid argument\n"],
    [
      "folders that nobody loads, at once",
      base,
      "error: UNKNOWN: 1 servable(s) did not become available: {{{name: default version: 7} due to error: UNIMPLEMENTED: ",
    ],
    [
      "folders that do not load, and tells why",
      () => [...base(), "--servable", path("broken.mjs"), "--max_num_load_retries=1", "--load_retry_interval_micros=0"],
      "default version 7: attempt 2 failed (INTERNAL: no default 7)\n",
    ],
    ["a module without default export", () => ["--servable", path("nothing.mjs")], "nothing.mjs: expected a function loadServable or"],
    ["a missing module", () => ["--servable", path("missing.mjs")], "missing.mjs"],
    ["a port that is none", () => ["--port=70000", ...base()], 'error: --port: expected a whole number from 0 to 65535, got "70000"\n'],
    [
      "a time before now",
      () => ["--file_system_poll_wait_seconds=-1", ...base()],
      "error: --file_system_poll_wait_seconds: expected a whole",
    ],
    [
      "threads that run no call",
      () => ["--grpc_max_threads=1", ...base()],
      "error: --grpc_max_threads: expected a whole number from 2, got",
    ],
    ["a flag without its value", () => ["--model_base_path"], "error: option '--model_base_path <text>' argument missing\n"],
    ["a number that is none", () => ["--port=x", ...base()], 'error: --port: expected a whole number from 0 to 65535, got "x"\n'],
    ["a boolean that is none", () => ["--enable_batching=yes"], 'error: --enable_batching: expected true or false, got "yes"\n'],
  ])("%s", async (_title, args, message) => {
    const { exitCode, stdout, stderr } = await tfserving("serve", ...freePorts, ...args());
    expect({ exitCode, stdout }).toEqual({ exitCode: 255, stdout: "" });
    expect(stderr).toContain(message);
  });

  it("a port that is taken", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as { port: number };
    const { exitCode, stderr } = await tfserving("serve", `--port=${port}`, "--rest_api_port=0", "--servable", path("models.mjs"));
    other.close();
    expect(exitCode).toBe(255);
    expect(stderr).toContain(`error: listen EADDRINUSE: address already in use 127.0.0.1:${port}\n`);
  });
});
