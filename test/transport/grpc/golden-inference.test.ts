/** Classify, Regress, MultiInference and reloads recorded from TensorFlow Serving 2.20.0, sent by the public client. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ClassificationRequest } from "../../../gen/tensorflow_serving/apis/classification.js";
import { MultiInferenceRequest } from "../../../gen/tensorflow_serving/apis/inference.js";
import type { Input } from "../../../gen/tensorflow_serving/apis/input.js";
import { ReloadConfigRequest } from "../../../gen/tensorflow_serving/apis/model_management.js";
import { RegressionRequest } from "../../../gen/tensorflow_serving/apis/regression.js";
import { PredictionClient } from "../../../src/client/prediction-client.js";
import { modelServerConfigFromProto } from "../../../src/config-messages.js";
import { isServingError, statusCodes } from "../../../src/errors.js";
import { examplesFrom, type InferenceTaskLike, inferenceTasksFrom } from "../../../src/inference-inputs.js";
import { examplesFromInput, inferenceMethodNames, multiInferenceRequestFromProto } from "../../../src/inference-messages.js";
import { modelSpecFromProto } from "../../../src/messages.js";
import { assertReloadable } from "../../../src/model-server-config.js";
import { modelSpecFrom } from "../../../src/model-spec.js";
import { type CannedAnswer, type CannedGrpcServer, startCannedGrpcServer } from "../../support/canned-grpc-server.js";
import { bytesOf, type GoldenExchange, grpcExchanges } from "./golden-exchanges.js";

/** How to make the call behind a recorded request, or why our API has none. */
type Made = { readonly call: (client: PredictionClient) => Promise<unknown> } | { readonly skip: string };

/** One method: the call behind recorded bytes, the request for comparison, and the answer in the words of protobuf JSON. */
interface Method {
  readonly make: (bytes: Uint8Array) => Made;
  readonly request: (bytes: Uint8Array) => unknown;
  readonly answer: (json: never) => unknown;
}

/** Whether the client itself refuses what would be sent. */
function refused(check: () => unknown): string | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    if (error instanceof TypeError || isServingError(error, "SignatureError")) return "the client refuses this before sending";
    throw error;
  }
}

function inputSkip(input: Input | undefined): string | undefined {
  if (input === undefined) return "the client always sends an input";
  const { exampleListWithContext: list } = input;
  return list !== undefined && list.context === undefined ? "the client sends the list with context only with a context" : undefined;
}

/** An example without features and one with an empty map of them mean the same. */
function normalized<Request extends { input: Input | undefined }>(request: Request): Request {
  const { exampleList, exampleListWithContext: withContext } = request.input ?? {};
  for (const example of [...(exampleList?.examples ?? []), ...(withContext?.examples ?? []), withContext?.context]) {
    if (example !== undefined) example.features ??= { feature: {} };
  }
  return request;
}

interface JsonSpec {
  name?: string;
  version?: string;
  signatureName?: string;
}
type JsonClassification = { classifications?: { classes?: { label?: string; score?: number | string }[] }[] };
type JsonRegression = { regressions?: { value?: number | string }[] };

/** Recorded floats have the shortest form that reads back as the same float32. */
const float = (value: number | string = 0) => Math.fround(Number(value));
const specOf = ({ name, version, signatureName }: JsonSpec) => ({ name, version: BigInt(version ?? 0), signatureName });
const labelsOf = ({ classifications = [] }: JsonClassification = {}) =>
  classifications.map(({ classes = [] }) => classes.map(({ label = "", score }) => ({ label, score: float(score) })));
const valuesOf = ({ regressions = [] }: JsonRegression = {}) => regressions.map(({ value }) => float(value));

function inference(method: "classify" | "regress", read: (bytes: Uint8Array) => ClassificationRequest | RegressionRequest): Method["make"] {
  return (bytes) => {
    const { modelSpec, input } = read(bytes);
    if (modelSpec === undefined) return { skip: "the client always sends a model spec" };
    const { examples, context } = examplesFromInput(input);
    const spec = modelSpecFromProto(modelSpec);
    const skip = inputSkip(input) ?? refused(() => [modelSpecFrom(spec), examplesFrom(examples, context, { method })]);
    if (skip !== undefined) return { skip };
    return { call: (client) => client[method](spec, examples, { context }) };
  };
}

const methods: Record<string, Method> = {
  "/tensorflow.serving.PredictionService/Classify": {
    make: inference("classify", (bytes) => ClassificationRequest.decode(bytes)),
    request: (bytes) => normalized(ClassificationRequest.decode(bytes)),
    answer: ({ result, modelSpec }: { result: JsonClassification; modelSpec: JsonSpec }) => ({
      results: labelsOf(result),
      modelSpec: specOf(modelSpec),
    }),
  },
  "/tensorflow.serving.PredictionService/Regress": {
    make: inference("regress", (bytes) => RegressionRequest.decode(bytes)),
    request: (bytes) => normalized(RegressionRequest.decode(bytes)),
    answer: ({ result, modelSpec }: { result: JsonRegression; modelSpec: JsonSpec }) => ({
      results: valuesOf(result),
      modelSpec: specOf(modelSpec),
    }),
  },
  "/tensorflow.serving.PredictionService/MultiInference": {
    make: (bytes) => {
      const proto = MultiInferenceRequest.decode(bytes);
      const { tasks, examples, context } = multiInferenceRequestFromProto(proto);
      const ours = tasks.flatMap(({ spec, methodName }): InferenceTaskLike[] =>
        (["classify", "regress"] as const)
          .filter((method) => inferenceMethodNames[method] === methodName)
          .map((method) => ({ model: spec, method })),
      );
      if (ours.length < tasks.length) return { skip: "a method that tasks cannot have" };
      const skip =
        inputSkip(proto.input) ?? refused(() => [inferenceTasksFrom(ours), examplesFrom(examples, context, { method: "multiInference" })]);
      return skip === undefined ? { call: (client) => client.multiInference(ours, examples, { context }) } : { skip };
    },
    request: (bytes) => normalized(MultiInferenceRequest.decode(bytes)),
    answer: ({
      results,
    }: {
      results: { modelSpec: JsonSpec; classificationResult?: JsonClassification; regressionResult?: JsonRegression }[];
    }) => ({
      results: results.map(({ modelSpec, classificationResult, regressionResult }) =>
        classificationResult === undefined
          ? { method: "regress", results: valuesOf(regressionResult), modelSpec: specOf(modelSpec) }
          : { method: "classify", results: labelsOf(classificationResult), modelSpec: specOf(modelSpec) },
      ),
    }),
  },
  "/tensorflow.serving.ModelService/HandleReloadConfigRequest": {
    make: (bytes) => {
      const { config, metricNames } = ReloadConfigRequest.decode(bytes);
      if (metricNames.length > 0) return { skip: "the client asks for no metrics" };
      const ours = modelServerConfigFromProto(config);
      if (ours === undefined) return { skip: "the client always sends a list of models" };
      const skip = refused(() => assertReloadable(ours));
      return skip !== undefined ? { skip } : { call: (client) => client.reloadConfig(ours) };
    },
    request: (bytes) => ReloadConfigRequest.decode(bytes),
    answer: () => undefined,
  },
};

const otherMethod = "a method that golden.test.ts covers, or the client does not have";

/** Why an exchange is not run; `undefined` where it is. */
function reasonToSkip({ request }: GoldenExchange): string | undefined {
  const method = methods[request.method];
  if (method === undefined) return otherMethod;
  try {
    const made = method.make(bytesOf(request.bytes));
    return "skip" in made ? made.skip : undefined;
  } catch {
    // What ts-proto's decoders throw: the request was recorded to be refused.
    return "bytes that are no message";
  }
}

/** How many exchanges must run and, by reason, how many cannot: so that none is lost silently. */
const groups: Record<string, { ran: number; skipped: Record<string, number> }> = {
  "classify-regress": {
    ran: 71,
    skipped: {
      "a method that tasks cannot have": 2,
      "the client always sends a model spec": 2,
      "the client always sends an input": 1,
      "the client refuses this before sending": 9,
      "the client sends the list with context only with a context": 1,
    },
  },
  "reload-lifecycle": {
    ran: 46,
    skipped: {
      [otherMethod]: 165,
      "bytes that are no message": 1,
      "the client always sends a list of models": 2,
      "the client asks for no metrics": 1,
      "the client refuses this before sending": 3,
    },
  },
  batching: { ran: 4, skipped: { [otherMethod]: 25 } },
  flags: { ran: 7, skipped: { [otherMethod]: 31 } },
  metrics: { ran: 3, skipped: { [otherMethod]: 5 } },
};

describe.each(Object.entries(groups))("recorded exchanges of %s", (file, counts) => {
  let server: CannedGrpcServer;
  let client: PredictionClient;
  let answer: CannedAnswer;
  let received: { path: string; bytes: Uint8Array } | undefined;

  beforeAll(async () => {
    server = await startCannedGrpcServer((request) => {
      received = request;
      return answer;
    });
    client = new PredictionClient(server.target);
  });
  afterAll(async () => {
    await client.close();
    server.close();
  });

  const exchanges = grpcExchanges(file);
  const runnable = exchanges.filter((exchange) => reasonToSkip(exchange) === undefined);

  it("are all run or skipped for a reason", () => {
    const skipped: Record<string, number> = {};
    for (const reason of exchanges.map(reasonToSkip)) if (reason !== undefined) skipped[reason] = (skipped[reason] ?? 0) + 1;
    console.log(`golden ${file} over gRPC (inference and reloads): ${runnable.length} run`, skipped);
    expect({ ran: runnable.length, skipped }).toEqual(counts);
  });

  it.each(runnable.map((exchange) => [exchange.id, exchange] as const))("%s", async (_id, { request, response }) => {
    const method = methods[request.method] as Method;
    const made = method.make(bytesOf(request.bytes));
    if ("skip" in made) throw new Error(made.skip);
    const { code, message, bytes, json } = response;
    answer = code === "OK" ? { bytes: bytesOf(bytes) } : { code: statusCodes.indexOf(code), message };
    received = undefined;
    const outcome = await made.call(client).catch((error: unknown) => error);

    const sent = received as { path: string; bytes: Uint8Array } | undefined;
    expect(sent?.path).toBe(request.method);
    expect(method.request(new Uint8Array(sent?.bytes ?? []))).toEqual(method.request(bytesOf(request.bytes)));
    if (code === "OK") expect(outcome).toEqual(method.answer(json as never));
    else expect(outcome).toMatchObject({ name: "RpcError", code, serverMessage: message, transport: "grpc", endpoint: server.target });
  });
});
