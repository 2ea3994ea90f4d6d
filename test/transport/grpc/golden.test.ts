/** Exchanges recorded from TensorFlow Serving 2.20.0, sent through the real transport to a server that returns the recorded bytes. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DataType } from "../../../gen/tensorflow/core/framework/types.js";
import { GetModelMetadataRequest } from "../../../gen/tensorflow_serving/apis/get_model_metadata.js";
import { GetModelStatusRequest } from "../../../gen/tensorflow_serving/apis/get_model_status.js";
import { PredictRequest } from "../../../gen/tensorflow_serving/apis/predict.js";
import { isServingError, statusCodes } from "../../../src/errors.js";
import { modelSpecFromProto, tensorFromProto } from "../../../src/messages.js";
import { dtypeFromWire } from "../../../src/tensor/dtype.js";
import type { AnyTensor } from "../../../src/tensor/tensor.js";
import { createGrpcTransport } from "../../../src/transport/grpc/transport.js";
import type { ModelMetadata, ModelVersionStatus, PredictResult, Transport } from "../../../src/transport/transport.js";
import { type CannedAnswer, type CannedGrpcServer, startCannedGrpcServer } from "../../support/canned-grpc-server.js";

interface Exchange {
  readonly id: string;
  readonly transport: "grpc" | "rest";
  readonly form?: "content" | "val" | "string_content";
  readonly transport_text?: string;
  readonly request: { readonly method: string; readonly bytes: string };
  readonly response: { readonly code: string; readonly message: string; readonly bytes?: string; readonly json?: unknown };
}

type JsonTensor = { dtype: keyof typeof DataType; tensorShape?: { dim?: { size?: string }[] } } & Record<string, unknown>;

const methods = [
  "/tensorflow.serving.PredictionService/Predict",
  "/tensorflow.serving.PredictionService/GetModelMetadata",
  "/tensorflow.serving.ModelService/GetModelStatus",
];

function exchangesOf(file: string): Exchange[] {
  const text = readFileSync(new URL(`../../fixtures/golden/${file}.json`, import.meta.url), "utf8");
  return (JSON.parse(text) as { exchanges: Exchange[] }).exchanges.filter(({ transport }) => transport === "grpc");
}

const bytesOf = (base64: string) => new Uint8Array(Buffer.from(base64, "base64"));

/** Why our API cannot make this exchange; `undefined` where it can. */
function reasonToSkip(exchange: Exchange): string | undefined {
  const { method, bytes } = exchange.request;
  if (!methods.includes(method)) return "a method that the transport does not have";
  if (exchange.response.code === "OK" && exchange.response.bytes === undefined) return "the answer was too long to be recorded";
  if (exchange.response.code === "DEADLINE_EXCEEDED") return "needs a server that takes its time";
  try {
    if (method.endsWith("GetModelMetadata")) {
      const { modelSpec, metadataField } = GetModelMetadataRequest.decode(bytesOf(bytes));
      if (metadataField.join() !== "signature_def") return "the transport asks for signature_def once and nothing else";
      return modelSpec === undefined ? "the transport always sends a model spec" : undefined;
    }
    if (method.endsWith("GetModelStatus")) {
      return GetModelStatusRequest.decode(bytesOf(bytes)).modelSpec === undefined ? "the transport always sends a model spec" : undefined;
    }
    const request = PredictRequest.decode(bytesOf(bytes));
    if (request.modelSpec === undefined) return "the transport always sends a model spec";
    inputsOf(request);
    return undefined;
  } catch (error) {
    return isServingError(error, "TensorError") ? "an input that is no tensor" : "bytes that are no message";
  }
}

const inputsOf = (request: PredictRequest): Record<string, AnyTensor> =>
  Object.fromEntries(Object.entries(request.inputs).map(([name, proto]) => [name, tensorFromProto(proto, name)]));

/** A message in which an absent shape and an empty one, which mean the same, are equal. */
function normalized(request: PredictRequest): PredictRequest {
  for (const input of Object.values(request.inputs)) input.tensorShape ??= { dim: [], unknownRank: false };
  return request;
}

function call(transport: Transport, exchange: Exchange): Promise<unknown> {
  const bytes = bytesOf(exchange.request.bytes);
  const options = { deadline: performance.now() + 20_000 };
  if (exchange.request.method.endsWith("GetModelMetadata")) {
    return transport.getModelMetadata(modelSpecFromProto(GetModelMetadataRequest.decode(bytes).modelSpec as never), options);
  }
  if (exchange.request.method.endsWith("GetModelStatus")) {
    return transport.getModelStatus(modelSpecFromProto(GetModelStatusRequest.decode(bytes).modelSpec as never), options);
  }
  const request = PredictRequest.decode(bytes);
  const { modelSpec, outputFilter } = request;
  return transport.predict(modelSpecFromProto(modelSpec as never), inputsOf(request), { ...options, outputFilter });
}

function expectSameRequest(received: Uint8Array, exchange: Exchange): void {
  const recorded = bytesOf(exchange.request.bytes);
  if (!exchange.request.method.endsWith("/Predict")) {
    expect(Buffer.from(received).toString("base64")).toBe(exchange.request.bytes);
    return;
  }
  const [got, expected] = [PredictRequest.decode(new Uint8Array(received)), PredictRequest.decode(recorded)];
  if (exchange.form === "content") expect(normalized(got)).toEqual(normalized(expected));
  // Recorded with typed lists or strings in tensor_content, which we never send: equal in meaning.
  expect([got.modelSpec, got.outputFilter]).toEqual([expected.modelSpec, expected.outputFilter]);
  expect(inputsOf(got)).toEqual(inputsOf(expected));
}

/** Flat values of a tensor in protobuf JSON, read without our decoder. */
function valuesOfJson(tensor: JsonTensor): unknown[] {
  const { float8Val, tensorContent } = tensor;
  if (typeof float8Val === "string") return [...Buffer.from(float8Val, "base64")];
  if (typeof tensorContent === "string") {
    expect(tensor.dtype, "the one dtype recorded as content").toBe("DT_FLOAT");
    const content = Buffer.from(tensorContent, "base64");
    return Array.from({ length: content.length / 4 }, (_, index) => content.readFloatLE(4 * index));
  }
  const [field, values] = Object.entries(tensor).find(([name]) => name.endsWith("Val")) ?? ["", []];
  return (values as unknown[]).map((value) => {
    if (field === "int64Val" || field === "uint64Val") return BigInt(value as string);
    if (field === "boolVal") return value ? 1 : 0;
    if (field === "stringVal") return Buffer.from(value as string, "base64").toString("hex");
    return field === "floatVal" || field === "scomplexVal" ? Math.fround(Number(value)) : Number(value);
  });
}

function expectTensor(actual: AnyTensor | undefined, expected: JsonTensor): void {
  expect(actual?.dtype).toBe(dtypeFromWire(DataType[expected.dtype]));
  expect(actual?.shape).toEqual((expected.tensorShape?.dim ?? []).map(({ size }) => Number(size ?? 0)));
  const values = [...(actual?.values ?? [])].map((value) => (value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value));
  expect(values).toEqual(valuesOfJson(expected));
}

interface JsonSpec {
  name: string;
  version?: string;
  signatureName?: string;
}

function expectPredictResult(result: PredictResult, json: unknown): void {
  const { outputs = {}, modelSpec } = json as { outputs?: Record<string, JsonTensor>; modelSpec: JsonSpec };
  expect(Object.getPrototypeOf(result.outputs)).toBeNull();
  expect(Object.keys(result.outputs).sort()).toEqual(Object.keys(outputs).sort());
  for (const [name, tensor] of Object.entries(outputs)) expectTensor(result.outputs[name], tensor);
  const { name, version, signatureName } = modelSpec;
  expect(result.modelSpec).toEqual({ name, version: BigInt(version ?? 0), signatureName });
}

type JsonInfo = { dtype?: keyof typeof DataType; tensorShape?: { dim?: { size?: string }[]; unknownRank?: boolean } };
type JsonSignature = {
  inputs?: Record<string, JsonInfo>;
  outputs?: Record<string, JsonInfo>;
  methodName?: string;
  defaults?: Record<string, JsonTensor>;
};

function expectMetadata(metadata: ModelMetadata, json: unknown): void {
  const { modelSpec, metadata: fields } = json as {
    modelSpec: JsonSpec;
    metadata: { signature_def: { signatureDef: Record<string, JsonSignature> } };
  };
  expect(metadata.modelSpec).toEqual({ name: modelSpec.name, version: BigInt(modelSpec.version ?? 0) });
  const expected = Object.entries(fields.signature_def.signatureDef).filter(([name]) => name !== "__saved_model_init_op");
  expect(Object.keys(metadata.signatures).sort()).toEqual(expected.map(([name]) => name).sort());
  for (const [name, { inputs = {}, outputs = {}, methodName = "", defaults = {} }] of expected) {
    const signature = metadata.signatures[name];
    expect(signature?.methodName).toBe(methodName);
    const specs = (infos: Record<string, JsonInfo>) =>
      Object.fromEntries(
        Object.entries(infos).map(([key, info]) => [
          key,
          { dtype: dtypeFromWire(DataType[info.dtype ?? "DT_INVALID"]), shape: shapeOf(info) },
        ]),
      );
    const withoutDefaults = Object.entries(signature?.inputs ?? {}).map(([key, { dtype, shape }]) => [key, { dtype, shape }]);
    expect(Object.fromEntries(withoutDefaults)).toEqual(specs(inputs));
    expect({ ...signature?.outputs }).toEqual(specs(outputs));
    for (const key of Object.keys(inputs)) expect(signature?.inputs[key]?.default === undefined).toBe(defaults[key] === undefined);
    for (const [key, value] of Object.entries(defaults)) expectTensor(signature?.inputs[key]?.default, value);
  }
}

function shapeOf({ tensorShape }: JsonInfo): (number | null)[] | null {
  if (tensorShape?.unknownRank === true) return null;
  return (tensorShape?.dim ?? []).map(({ size }) => (size === "-1" ? null : Number(size ?? 0)));
}

function expectStatuses(statuses: ModelVersionStatus[], json: unknown): void {
  const { model_version_status: expected } = json as { model_version_status: { version: string; state: string; status: object }[] };
  expect(statuses).toEqual(expected.map(({ version, state }) => ({ version: BigInt(version), state, errorCode: "OK", errorMessage: "" })));
}

/** How many exchanges must run and, by reason, how many cannot: so that none is lost silently. */
const groups: Record<string, { ran: number; skipped: Record<string, number> }> = {
  "predict-grpc": { ran: 371, skipped: { "the answer was too long to be recorded": 2 } },
  "metadata-status": {
    ran: 48,
    skipped: { "the transport always sends a model spec": 2, "the transport asks for signature_def once and nothing else": 6 },
  },
  "errors-grpc": {
    ran: 47,
    skipped: {
      "a method that the transport does not have": 3,
      "an input that is no tensor": 12,
      "bytes that are no message": 2,
      "needs a server that takes its time": 1,
      "the transport always sends a model spec": 1,
    },
  },
};

describe.each(Object.entries(groups))("recorded exchanges of %s", (file, counts) => {
  let server: CannedGrpcServer;
  let transport: Transport;
  let answer: CannedAnswer;
  let received: { path: string; bytes: Uint8Array } | undefined;

  beforeAll(async () => {
    server = await startCannedGrpcServer((request) => {
      received = request;
      return answer;
    });
    transport = createGrpcTransport({ target: server.target });
  });
  afterAll(async () => {
    await transport.close();
    server.close();
  });

  const exchanges = exchangesOf(file);
  const runnable = exchanges.filter((exchange) => reasonToSkip(exchange) === undefined);

  it("are all run or skipped for a reason", () => {
    const skipped: Record<string, number> = {};
    for (const reason of exchanges.map(reasonToSkip)) if (reason !== undefined) skipped[reason] = (skipped[reason] ?? 0) + 1;
    expect({ ran: runnable.length, skipped }).toEqual(counts);
  });

  it.each(runnable.map((exchange) => [exchange.id, exchange] as const))("%s", async (_id, exchange) => {
    const { code, message, bytes } = exchange.response;
    answer = code === "OK" ? { bytes: bytesOf(bytes ?? "") } : { code: statusCodes.indexOf(code as never), message };
    received = undefined;
    const outcome = await call(transport, exchange).catch((error: unknown) => error);

    const request = received as { path: string; bytes: Uint8Array } | undefined;
    expect(request?.path).toBe(exchange.request.method);
    expectSameRequest(request?.bytes ?? new Uint8Array(), exchange);
    if (code !== "OK") {
      expect(outcome).toMatchObject({ name: "RpcError", code, serverMessage: message, transport: "grpc", endpoint: server.target });
      return;
    }
    if (isServingError(outcome)) throw outcome;
    if (exchange.request.method.endsWith("GetModelMetadata")) expectMetadata(outcome as ModelMetadata, exchange.response.json);
    else if (exchange.request.method.endsWith("GetModelStatus")) expectStatuses(outcome as ModelVersionStatus[], exchange.response.json);
    else if (exchange.response.json !== undefined) expectPredictResult(outcome as PredictResult, exchange.response.json);
    // Answers above some size were recorded as bytes only.
    else expect(Object.keys((outcome as PredictResult).outputs).length).toBeGreaterThan(0);
  });
});
