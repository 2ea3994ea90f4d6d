import { cpSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Client, credentials } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GetModelStatusRequest, GetModelStatusResponse } from "../../gen/tensorflow_serving/apis/get_model_status.js";
import { ReloadConfigRequest, ReloadConfigResponse } from "../../gen/tensorflow_serving/apis/model_management.js";
import { PredictResponse } from "../../gen/tensorflow_serving/apis/predict.js";
import { ServingError } from "../../src/errors.js";
import { statusesFromProto } from "../../src/messages.js";
import type { ModelConfig } from "../../src/model-server-config.js";
import { createInMemoryTransport, type LoadServable, type Servable, startModelServer } from "../../src/server/index.js";
import { tensor } from "../../src/tensor/tensor.js";
import { goldenModels, halfPlusTwo } from "./golden-models.js";
import { rawGrpc } from "./raw-grpc.js";

interface RecordedCall {
  readonly request: { readonly method: string; readonly target?: string; readonly bytes?: string };
  readonly response: {
    readonly code?: string;
    readonly message?: string;
    readonly bytes?: string;
    readonly status?: number;
    readonly body?: string;
  };
}

type Step =
  | ({ readonly do: "reload" | "call"; readonly note: string } & RecordedCall)
  | { readonly do: "settle"; readonly note: string; readonly status: Readonly<Record<string, { code: string; bytes?: string }>> }
  | FileStep;

/** What happened on the disk; paths are below the folder of the models. */
type FileStep = { readonly do: "files" } & (
  | { readonly action: "copy" | "rename"; readonly from: string; readonly to: string }
  | { readonly action: "write"; readonly path: string; readonly text: string }
  | { readonly action: "remove" | "mkdir"; readonly path: string }
);

interface Scenario {
  readonly id: string;
  readonly server: { readonly config: string };
  readonly steps: readonly Step[];
}

const path = new URL("../fixtures/golden/reload-lifecycle.json", import.meta.url);
const scenarios = (JSON.parse(readFileSync(path, "utf8")) as { exchanges: Scenario[] }).exchanges;

const recordedRoot = "/tmp/models";
const multiVersion = goldenModels["multi_version"] as Readonly<Record<number, Servable>>;
let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "tfserving-reload-"));
  const folders = ["half_plus_two/00000123", "half_plus_two/letters", "multi_version/1", "multi_version/2", "multi_version/3"];
  for (const folder of [...folders, "vocabulary/1", "tf1_frozen/1"]) writeModel(folder, folder);
  writeModel("broken/1", "garbage");
  writeModel("live/1", "multi_version/1");
  mkdirSync(join(root, "empty"));
});

/** The text stands for a model: it says which one. */
function writeModel(folder: string, text: string): void {
  mkdirSync(join(root, folder), { recursive: true });
  writeFileSync(join(root, folder, "saved_model.pb"), text);
}

function change(step: FileStep): void {
  if ("from" in step) {
    const [from, to] = [join(root, step.from), join(root, step.to)];
    if (step.action === "copy") cpSync(from, to, { recursive: true });
    else renameSync(from, to);
  } else if (step.action === "write") writeModel(dirname(step.path), step.text);
  else if (step.action === "mkdir") mkdirSync(join(root, step.path));
  else rmSync(join(root, step.path), { recursive: true });
}
afterAll(() => rmSync(root, { recursive: true }));

const loadServable: LoadServable = (versionDir) => {
  const [name, version] = readFileSync(join(versionDir, "saved_model.pb"), "utf8").split("/");
  if (name === "garbage") throw new ServingError("Read less bytes than requested", { code: "OUT_OF_RANGE" });
  return name === "multi_version" ? (multiVersion[Number(version)] as Servable) : halfPlusTwo;
};

/** The configuration a scenario starts with, as far as these texts go. */
function startConfig(text: string): ReloadConfigRequest {
  const [, name = "", basePath = ""] = /name: "(.*?)" base_path: "(.*?)"/.exec(text) ?? [];
  const versions = [...text.matchAll(/versions: (\d+)/g)].map(([, version]) => version);
  const policy = versions.length === 0 ? {} : { modelVersionPolicy: { specific: { versions } } };
  return ReloadConfigRequest.fromPartial({
    config: { modelConfigList: { config: [{ name, basePath, modelPlatform: "tensorflow", ...policy }] } },
  } as Parameters<typeof ReloadConfigRequest.fromPartial>[0]);
}

function atRoot(request: ReloadConfigRequest): Uint8Array {
  for (const model of request.config?.modelConfigList?.config ?? []) model.basePath = model.basePath.replace(recordedRoot, root);
  return ReloadConfigRequest.encode(request).finish();
}

const reloadMethod = "/tensorflow.serving.ModelService/HandleReloadConfigRequest";

async function replay({ server: { config }, steps }: Scenario): Promise<void> {
  const server = await startModelServer({ loadServable, fileSystemPollMs: 20 });
  const client = new Client(server.grpcTarget, credentials.createInsecure());
  const statuses = async (name: string) => {
    const bytes = GetModelStatusRequest.encode(GetModelStatusRequest.create({ modelSpec: { name } })).finish();
    const answer = await rawGrpc(client, "/tensorflow.serving.ModelService/GetModelStatus", bytes);
    return answer.bytes === undefined ? answer.code : statusesFromProto(GetModelStatusResponse.decode(answer.bytes));
  };
  const run = async (step: Step) => {
    if (step.do === "settle") {
      for (const [name, { code, bytes }] of Object.entries(step.status)) {
        const expected = code === "OK" ? statusesFromProto(GetModelStatusResponse.decode(Buffer.from(bytes ?? "", "base64"))) : code;
        await expect.poll(() => statuses(name), { message: `${step.note}: ${name}`, timeout: 5_000 }).toEqual(expected);
      }
      return;
    }
    if (step.do === "files") {
      change(step);
      return;
    }
    const { request, response, note } = step;
    if (request.method === "GET") {
      const answer = await fetch(`${server.restTarget}${request.target}`);
      expect({ note, status: answer.status, body: await answer.text() }).toEqual({ note, status: response.status, body: response.body });
      return;
    }
    const recorded = Buffer.from(request.bytes ?? "", "base64");
    const bytes = step.do === "reload" && response.code !== "INTERNAL" ? atRoot(ReloadConfigRequest.decode(recorded)) : recorded;
    const answer = await rawGrpc(client, request.method, bytes, response.code === "DEADLINE_EXCEEDED" ? 300 : 5_000);
    expect({ note, code: answer.code }).toEqual({ note, code: response.code });
    // That text is the client library's.
    if (response.code !== "DEADLINE_EXCEEDED" && response.code !== "INTERNAL") expect(answer.message).toBe(response.message);
    if (answer.bytes === undefined || step.do === "reload") return;
    expect(PredictResponse.decode(answer.bytes)).toEqual(PredictResponse.decode(Buffer.from(response.bytes ?? "", "base64")));
  };
  try {
    expect((await rawGrpc(client, reloadMethod, atRoot(startConfig(config)))).code).toBe("OK");
    for (const step of steps) await run(step);
  } finally {
    client.close();
    await server.close();
  }
}

const soon = () => ({ deadline: performance.now() + 5_000 });
const model = (name: string, more: Partial<ModelConfig> = {}): ModelConfig => ({
  name,
  basePath: join(root, name),
  modelPlatform: "tensorflow",
  ...more,
});
const x = tensor("float32", [1], [1]);

describe("a reload", () => {
  it("has recorded scenarios to follow", () => {
    expect(scenarios.length).toBe(14);
  });

  it.each(scenarios.map((scenario): [string, Scenario] => [scenario.id, scenario]))(
    "follows %s as the real server did",
    async (_id, scenario) => {
      await replay(scenario);
    },
  );

  it("answers for metrics that nothing has been counted", async () => {
    const server = await startModelServer();
    const client = new Client(server.grpcTarget, credentials.createInsecure());
    const request = ReloadConfigRequest.fromPartial({ config: { modelConfigList: {} }, metricNames: ["/a"] });
    const answer = await rawGrpc(client, reloadMethod, ReloadConfigRequest.encode(request).finish());
    const { metric } = ReloadConfigResponse.decode(answer.bytes ?? new Uint8Array());
    expect(metric.map(({ name, int64ValueIncrease }) => [name, int64ValueIncrease?.toNumber()])).toEqual([["/a", 0]]);
    client.close();
    await server.close();
  });

  it("keeps JavaScript servables that it lists, those its version policy picks", async () => {
    const transport = createInMemoryTransport({ m: { 1: halfPlusTwo, 2: halfPlusTwo, 3: halfPlusTwo }, other: halfPlusTwo });
    await transport.reloadConfig({ models: [model("m", { versionPolicy: { specific: [1n, 2n] }, versionLabels: { old: 1n } })] }, soon());
    const states = await transport.getModelStatus({ name: "m" }, soon());
    expect(states.map(({ version, state }) => `${version} ${state}`)).toEqual(["3 END", "2 AVAILABLE", "1 AVAILABLE"]);
    expect((await transport.predict({ name: "m", versionLabel: "old" }, { x }, soon())).modelSpec.version).toBe(1n);
    await expect(transport.predict({ name: "other" }, { x }, soon())).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("ends folders with UNIMPLEMENTED where nobody can load them", async () => {
    const transport = createInMemoryTransport({});
    const failed = transport.reloadConfig({ models: [model("vocabulary")] }, soon());
    await expect(failed).rejects.toMatchObject({
      code: "UNKNOWN",
      serverMessage: expect.stringMatching(
        /^1 model\(s\) did not .*vocabulary version: 1\} due to error: UNIMPLEMENTED: .* option loadServable\}, \}$/,
      ),
    });
    expect(await transport.getModelStatus({ name: "vocabulary" }, soon())).toMatchObject([{ state: "END", errorCode: "UNIMPLEMENTED" }]);
  });

  it("blames a loader that makes no servable", async () => {
    const transport = createInMemoryTransport({}, { loadServable: () => ({ predict: 1 }) as never });
    const failed = transport.reloadConfig({ models: [model("vocabulary")] }, soon());
    await expect(failed).rejects.toThrow("INTERNAL: loadServable: expected a servable, got object");
  });

  it("names every model that failed", async () => {
    const transport = createInMemoryTransport({}, { loadServable });
    const models = [model("a", { basePath: join(root, "broken") }), model("half_plus_two"), model("b", { basePath: join(root, "broken") })];
    const because = "due to error: OUT_OF_RANGE: Read less bytes than requested}, ";
    await expect(transport.reloadConfig({ models }, soon())).rejects.toMatchObject({
      serverMessage: `2 model(s) did not become available: {{{name: a version: 1} ${because}{{name: b version: 1} ${because}}`,
    });
    expect((await transport.predict({ name: "half_plus_two" }, { x }, soon())).modelSpec.version).toBe(123n);
  });

  it("goes on loading when its caller's time is up, and serves the old version until then", async () => {
    const loading: ((servable: Servable) => void)[] = [];
    const slow: LoadServable = (_folder, { version }) =>
      version === 3n ? new Promise<Servable>((resolve) => loading.push(resolve)) : halfPlusTwo;
    const transport = createInMemoryTransport({}, { loadServable: slow });
    const release = async () => {
      await expect.poll(() => loading.length).toBe(1);
      loading.pop()?.(halfPlusTwo);
    };
    const states = async (name: string) =>
      (await transport.getModelStatus({ name }, soon())).map(({ version, state }) => `${version} ${state}`);
    const specific = (...versions: bigint[]) => ({ models: [model("multi_version", { versionPolicy: { specific: versions } })] });
    await transport.reloadConfig(specific(1n), soon());
    await transport.reloadConfig(specific(3n), soon());
    expect(await states("multi_version")).toEqual(["3 LOADING", "1 AVAILABLE"]);
    await release();
    await expect.poll(() => states("multi_version")).toEqual(["3 AVAILABLE", "1 END"]);

    const added = { models: [...specific(3n).models, model("new", { basePath: join(root, "multi_version") })] };
    const late = transport.reloadConfig(added, { deadline: performance.now() + 50 });
    await expect(late).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    expect(await states("new")).toEqual(["3 LOADING"]);
    await release();
    await expect.poll(() => states("new")).toEqual(["3 AVAILABLE"]);
  });

  it("ends its wait at a scripted state, and has no use for what the load then makes", async () => {
    let release: (servable: Servable) => void = () => undefined;
    const slow: LoadServable = () => new Promise<Servable>((resolve) => (release = resolve));
    const transport = createInMemoryTransport({ keep: halfPlusTwo }, { loadServable: slow });
    await transport.reloadConfig({ models: [model("keep")] }, soon());
    const adding = transport.reloadConfig({ models: [model("keep"), model("vocabulary")] }, soon());
    await expect.poll(async () => (await transport.getModelStatus({ name: "vocabulary" }, soon()))[0]?.state).toBe("LOADING");
    transport.setVersionState("vocabulary", 1, "END", { code: "ABORTED", message: "given up" });
    await expect(adding).rejects.toMatchObject({ code: "UNKNOWN" });
    release(halfPlusTwo);
    await transport.reloadConfig({ models: [model("keep")] }, soon());
    expect(await transport.getModelStatus({ name: "vocabulary" }, soon())).toMatchObject([{ state: "END", errorCode: "ABORTED" }]);
  });

  it("keeps what is there when a version is wanted again, and drops a load that no longer is", async () => {
    const loads: bigint[] = [];
    let release: (servable: Servable) => void = () => undefined;
    const counted: LoadServable = (_folder, { version }) => {
      loads.push(version);
      return version === 3n ? new Promise<Servable>((resolve) => (release = resolve)) : halfPlusTwo;
    };
    const transport = createInMemoryTransport({}, { loadServable: counted });
    const states = async () =>
      (await transport.getModelStatus({ name: "multi_version" }, soon())).map(({ version, state }) => `${version} ${state}`);
    const serve = (...versions: bigint[]) =>
      transport.reloadConfig({ models: [model("multi_version", { versionPolicy: { specific: versions } })] }, soon());
    await serve(1n);
    await serve(3n);
    await serve(1n, 3n);
    await serve(1n);
    expect(await states()).toEqual(["3 LOADING", "1 AVAILABLE"]);
    expect(loads).toEqual([1n, 3n]);
    release(halfPlusTwo);
    await expect.poll(states).toEqual(["3 END", "1 AVAILABLE"]);
  });

  it("unloads a model whose base path holds no version any more", async () => {
    const transport = createInMemoryTransport({}, { loadServable });
    await transport.reloadConfig({ models: [model("m", { basePath: join(root, "vocabulary") })] }, soon());
    await transport.reloadConfig({ models: [model("m", { basePath: join(root, "missing") })] }, soon());
    expect(await transport.getModelStatus({ name: "m" }, soon())).toMatchObject([{ state: "AVAILABLE" }]);
    await transport.reloadConfig({ models: [model("m", { basePath: join(root, "empty") })] }, soon());
    expect(await transport.getModelStatus({ name: "m" }, soon())).toMatchObject([{ state: "END", errorCode: "OK" }]);
  });
});
