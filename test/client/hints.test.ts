import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PredictResponse } from "../../gen/tensorflow_serving/apis/predict.js";
import { PredictionClient } from "../../src/client/prediction-client.js";
import { knownFailures } from "../../src/error-hints.js";
import { isServingError, type RpcError, ServingError, type StatusCode } from "../../src/errors.js";
import { type ModelServer, startModelServer } from "../../src/server/model-server.js";
import { servable } from "../../src/server/servable.js";
import { tensor } from "../../src/tensor/tensor.js";
import { startCannedGrpcServer } from "../support/canned-grpc-server.js";
import { startCannedRestServer } from "../support/canned-rest-server.js";

/** What the model `refuses` says next. */
let refusal: { code: StatusCode; text: string } = { code: "INTERNAL", text: "" };

const x = { dtype: "float32", shape: [null] } as const;
const echo = servable({ signatures: { serving_default: { inputs: { x }, outputs: { y: x } } }, predict: (inputs) => ({ y: inputs.x }) });
const refuses = servable({
  signatures: { serving_default: { inputs: { x }, outputs: { y: x } } },
  predict: () => {
    throw new ServingError(refusal.text, { code: refusal.code });
  },
});

let server: ModelServer;
let clients: readonly PredictionClient[];

beforeAll(async () => {
  const models = { echo: { 1: echo }, refuses: { 1: refuses }, loading: { 1: echo }, failed: { 1: echo, 2: echo } };
  server = await startModelServer({ models, versionLabels: { echo: { stable: 1 } } });
  server.setVersionState("loading", 1, "LOADING");
  server.setVersionState("failed", 2, "END", { code: "DATA_LOSS", message: "truncated record at 0" });
  clients = [new PredictionClient(server.grpcTarget), new PredictionClient(server.restTarget)];
});
afterAll(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await server.close();
});

const inputs = { x: tensor("float32", [1], [1]) };

/** The error of one call over gRPC and over REST. */
async function errorsOf(call: (client: PredictionClient) => Promise<unknown>): Promise<[grpc: RpcError, rest: RpcError]> {
  const errors = await Promise.all(clients.map((client) => call(client).catch((error: unknown) => error)));
  for (const error of errors) if (!isServingError(error, "RpcError")) throw new Error(`expected an RpcError, got ${error}`);
  return errors as [RpcError, RpcError];
}

/** What is the same over both transports. */
const common = ({ name, code, retryable, hint, modelSpec }: RpcError) => ({ name, code, retryable, hint, modelSpec });

type Call = (client: PredictionClient) => Promise<unknown>;

describe("gRPC and REST give equal errors with a hint (trap 14)", () => {
  it.each<[string, Call, Partial<RpcError>]>([
    ["an unknown model", (c) => c.predict("nope", inputs), { code: "NOT_FOUND", hint: "--model_config_file" }],
    ["an unknown version", (c) => c.predict({ name: "echo", version: 9 }, inputs), { code: "NOT_FOUND", hint: "getModelStatus" }],
    ["a model that still loads", (c) => c.predict("loading", inputs), { code: "NOT_FOUND", hint: "still loads" }],
    ["a version that failed", (c) => c.predict({ name: "failed", version: 2 }, inputs), { code: "NOT_FOUND", hint: "failed" }],
    [
      "an unknown label",
      (c) => c.predict({ name: "echo", versionLabel: "canary" }, inputs),
      { code: "INVALID_ARGUMENT", hint: "version_labels" },
    ],
    [
      "an unknown signature",
      (c) => c.predict({ name: "echo", signatureName: "other" }, inputs),
      { code: "FAILED_PRECONDITION", hint: 'only "serving_default"' },
    ],
    [
      "an unknown signature of classify",
      (c) => c.classify({ name: "echo", signatureName: "other" }, [{ x: 1 }]),
      { code: "INVALID_ARGUMENT", hint: "signatureName chooses" },
    ],
    [
      "a signature that cannot classify",
      (c) => c.classify("echo", [{ x: 1 }]),
      { code: "INVALID_ARGUMENT", hint: "not one for this method" },
    ],
    ["metadata of an unknown model", (c) => c.getModelMetadata("nope"), { code: "NOT_FOUND", hint: "--model_config_file" }],
    ["status of an unknown model", (c) => c.getModelStatus("nope"), { code: "NOT_FOUND", hint: "--file_system_poll_wait_seconds" }],
    [
      "status of an unknown version",
      (c) => c.getModelStatus({ name: "echo", version: 9 }),
      { code: "NOT_FOUND", hint: "--file_system_poll_wait_seconds" },
    ],
    [
      "an unknown output",
      (c) => c.predict("echo", inputs, { outputFilter: ["z"] }),
      { code: "INVALID_ARGUMENT", hint: 'output "z" is not in the signature' },
    ],
    [
      "waiting for a version that failed to load",
      (c) => c.waitForModel("failed", { timeoutMs: 2000 }),
      { code: "DATA_LOSS", hint: "version 1 is AVAILABLE" },
    ],
  ])("for %s", async (_what, call, { code, hint }) => {
    const [grpc, rest] = await errorsOf(call);
    expect(common(rest)).toEqual(common(grpc));
    expect([grpc.code, grpc.hint]).toEqual([code, expect.stringContaining(hint as string)]);
    expect([grpc.transport, rest.transport]).toEqual(["grpc", "rest"]);
    expect([grpc.endpoint, rest.endpoint]).toEqual([server.grpcTarget, new URL(server.restTarget).host]);
  });

  it("and name the call the same whether it needed a look-up or not", async () => {
    const errors = [
      ...(await errorsOf((client) => client.predict({ name: "nope", version: 2 }, inputs))),
      ...(await errorsOf((client) => client.predict({ name: "nope", version: 2 }, [1]))),
    ];
    expect(new Set(errors.map(({ message }) => message.slice(0, message.indexOf(":2: "))))).toEqual(new Set(["NOT_FOUND: predict nope"]));
    expect(new Set(errors.map(({ hint }) => hint)).size).toBe(1);
  });

  const texts = knownFailures.flatMap(({ texts, code, hint, retryable }) =>
    code === undefined ? [] : texts.map((text) => [code, text, hint, (retryable ?? code === "UNAVAILABLE") !== false] as const),
  );

  it.each(texts)("for %s: %s", async (code, text, hint, retryable) => {
    refusal = { code, text: text.replace("...", "before ").replaceAll(/<[^<>]*>/g, "some") };
    const [grpc, rest] = await errorsOf((client) => client.predict("refuses", inputs));
    expect(common(grpc)).toEqual({ name: "RpcError", code, retryable, hint, modelSpec: { name: "refuses" } });
    expect(common(rest)).toEqual(common(grpc));
    expect([grpc.serverMessage, rest.serverMessage]).toEqual([refusal.text, refusal.text]);
  });
});

describe("a version that failed to load", () => {
  it("sends the one who waits to the server's log", async () => {
    server.setVersionState("failed", 1, "END", { code: "INTERNAL", message: "no such file" });
    const [grpc, rest] = await errorsOf((client) => client.waitForModel("failed", { timeoutMs: 2000 }));
    expect(common(rest)).toEqual(common(grpc));
    expect([grpc.code, grpc.retryable, grpc.hint]).toEqual([
      "DATA_LOSS",
      false,
      expect.stringContaining("the server gave this version up"),
    ]);
    expect(grpc.serverMessage).toContain("truncated record at 0");
  });
});

describe("an answer with an output that is no tensor", () => {
  it("names call and output over gRPC", async () => {
    const bytes = PredictResponse.encode(PredictResponse.fromPartial({ outputs: { y: { dtype: 20 } } })).finish();
    const canned = await startCannedGrpcServer(() => ({ bytes }));
    const client = new PredictionClient(canned.target);
    await expect(client.predict({ name: "m", version: 3 }, inputs)).rejects.toMatchObject({
      name: "TensorError",
      message: expect.stringMatching(/^INVALID_ARGUMENT: predict m:3: output "y": /),
      cause: { name: "TensorError" },
    });
    await client.close();
    canned.close();
  });

  it("names call and output over REST", async () => {
    const metadata = await (await fetch(`${server.restTarget}/v1/models/echo/metadata`)).text();
    const canned = await startCannedRestServer(({ method }) => ({
      status: 200,
      body: method === "GET" ? metadata : '{"outputs": [[1.0], [1.0, 2.0]]}',
    }));
    const client = new PredictionClient(canned.url);
    await expect(client.predict({ name: "echo", version: 1 }, inputs)).rejects.toMatchObject({
      name: "TensorError",
      message: expect.stringMatching(/^INVALID_ARGUMENT: predict echo:1: output "y": /),
      cause: { name: "TensorError" },
    });
    await client.close();
    await canned.close();
  });
});
