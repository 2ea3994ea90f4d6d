/** Predict, metadata and status recorded from TensorFlow Serving 2.20.0, sent by the public client to a server that returns the recorded bytes. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DataType } from "../../../gen/tensorflow/core/framework/types.js";
import { GetModelMetadataRequest } from "../../../gen/tensorflow_serving/apis/get_model_metadata.js";
import { GetModelStatusRequest } from "../../../gen/tensorflow_serving/apis/get_model_status.js";
import { PredictRequest } from "../../../gen/tensorflow_serving/apis/predict.js";
import { PredictionClient } from "../../../src/client/prediction-client.js";
import { isServingError, statusCodes } from "../../../src/errors.js";
import { modelSpecFromProto, tensorFromProto } from "../../../src/messages.js";
import { type ModelSpec, modelSpecFrom } from "../../../src/model-spec.js";
import { dtypeFromWire } from "../../../src/tensor/dtype.js";
import type { AnyTensor } from "../../../src/tensor/tensor.js";
import type { ModelMetadata, ModelVersionStatus, PredictResult } from "../../../src/transport/transport.js";
import { type CannedAnswer, type CannedGrpcServer, startCannedGrpcServer } from "../../support/canned-grpc-server.js";
import { bytesOf, type GoldenExchange, grpcExchanges } from "./golden-exchanges.js";

type JsonTensor = { dtype: keyof typeof DataType; tensorShape?: { dim?: { size?: string }[] } } & Record<string, unknown>;

const methods = [
  "/tensorflow.serving.PredictionService/Predict",
  "/tensorflow.serving.PredictionService/GetModelMetadata",
  "/tensorflow.serving.ModelService/GetModelStatus",
];

const otherMethod = "a method that golden-inference.test.ts covers, or the client does not have";

/** Why the client cannot make this exchange; `undefined` where it can. */
function reasonToSkip(exchange: GoldenExchange): string | undefined {
  const { method, bytes } = exchange.request;
  if (!methods.includes(method)) return otherMethod;
  if (exchange.response.code === "OK" && exchange.response.bytes === undefined) return "the answer was not recorded as bytes";
  if (bytes === undefined) return "the request was not recorded";
  try {
    const request = requestOf(exchange);
    if (request.modelSpec === undefined) return "the client always sends a model spec";
    if (isRefused(modelSpecFromProto(request.modelSpec))) return "a model that the client refuses";
    if ("metadataField" in request && request.metadataField.join() !== "signature_def") {
      return "the client asks for signature_def once and nothing else";
    }
    if ("inputs" in request) inputsOf(request);
    return undefined;
  } catch (error) {
    return isServingError(error, "TensorError") ? "an input that is no tensor" : "bytes that are no message";
  }
}

function isRefused(spec: ModelSpec): boolean {
  try {
    modelSpecFrom(spec);
    return false;
  } catch {
    // A TypeError or RangeError: the client would throw it, too.
    return true;
  }
}

function requestOf({ request }: GoldenExchange): PredictRequest | GetModelMetadataRequest | GetModelStatusRequest {
  const bytes = bytesOf(request.bytes);
  if (request.method.endsWith("GetModelMetadata")) return GetModelMetadataRequest.decode(bytes);
  return request.method.endsWith("GetModelStatus") ? GetModelStatusRequest.decode(bytes) : PredictRequest.decode(bytes);
}

const inputsOf = (request: PredictRequest): Record<string, AnyTensor> =>
  Object.fromEntries(Object.entries(request.inputs).map(([name, proto]) => [name, tensorFromProto(proto, name)]));

/** A message in which an absent shape and an empty one, which mean the same, are equal. */
function normalized(request: PredictRequest): PredictRequest {
  for (const input of Object.values(request.inputs)) input.tensorShape ??= { dim: [], unknownRank: false };
  return request;
}

function call(client: PredictionClient, exchange: GoldenExchange): Promise<unknown> {
  const request = requestOf(exchange);
  const spec = modelSpecFromProto(request.modelSpec as never);
  if (!("inputs" in request)) return "metadataField" in request ? client.getModelMetadata(spec) : client.getModelStatus(spec);
  return client.predict(spec, inputsOf(request), { outputFilter: request.outputFilter });
}

function expectSameRequest(received: Uint8Array, exchange: GoldenExchange): void {
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

/** Little-endian elements of the dtypes that were recorded as content. */
const contentReaders: Partial<Record<keyof typeof DataType, readonly [bytes: number, read: (content: Buffer, at: number) => unknown]>> = {
  DT_FLOAT: [4, (content, at) => content.readFloatLE(at)],
  DT_COMPLEX64: [4, (content, at) => content.readFloatLE(at)],
  DT_DOUBLE: [8, (content, at) => content.readDoubleLE(at)],
  DT_INT32: [4, (content, at) => content.readInt32LE(at)],
  DT_HALF: [2, (content, at) => content.readUInt16LE(at)],
  DT_BFLOAT16: [2, (content, at) => content.readUInt16LE(at)],
  DT_INT64: [8, (content, at) => content.readBigInt64LE(at)],
  DT_UINT64: [8, (content, at) => content.readBigUInt64LE(at)],
  DT_BOOL: [1, (content, at) => content[at]],
};

function valuesOfContent({ dtype, tensorShape }: JsonTensor, content: Buffer): unknown[] {
  const count = (tensorShape?.dim ?? []).reduce((product, { size }) => product * Number(size ?? 0), 1);
  if (dtype === "DT_STRING") return stringsOfContent(content, count);
  const [bytes, read] = contentReaders[dtype] ?? [];
  if (bytes === undefined || read === undefined) throw new Error(`no reader for ${dtype}`);
  return Array.from({ length: content.length / bytes }, (_, index) => read(content, index * bytes));
}

/** Strings in content: first all their lengths as varints, then the bytes of all. */
function stringsOfContent(content: Buffer, count: number): string[] {
  let at = 0;
  const lengths = Array.from({ length: count }, () => {
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = content.readUInt8(at++);
      length |= (byte & 127) << shift;
      if (byte < 128) return length;
    }
  });
  return lengths.map((length) => {
    at += length;
    return content.toString("hex", at - length, at);
  });
}

/** Flat values of a tensor in protobuf JSON, read without our decoder. */
function valuesOfJson(tensor: JsonTensor): unknown[] {
  const { float8Val, tensorContent } = tensor;
  if (typeof float8Val === "string") return [...Buffer.from(float8Val, "base64")];
  if (typeof tensorContent === "string") return valuesOfContent(tensor, Buffer.from(tensorContent, "base64"));
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

interface JsonStatus {
  readonly version: string;
  readonly state: string;
  readonly status: { readonly error_code?: string; readonly error_message?: string };
}

function expectStatuses(statuses: ModelVersionStatus[], json: unknown): void {
  const { model_version_status: expected } = json as { model_version_status: JsonStatus[] };
  const plain = expected.map(({ version, state, status: { error_code: errorCode = "OK", error_message: errorMessage = "" } }) => ({
    version: BigInt(version),
    state,
    errorCode,
    errorMessage,
  }));
  expect(statuses).toEqual(plain);
}

/** How many exchanges must run and, by reason, how many cannot: so that none is lost silently. */
const groups: Record<string, { ran: number; skipped: Record<string, number> }> = {
  "predict-grpc": { ran: 371, skipped: { "the answer was not recorded as bytes": 2 } },
  "metadata-status": {
    ran: 46,
    skipped: {
      "a model that the client refuses": 2,
      "the client always sends a model spec": 3,
      "the client asks for signature_def once and nothing else": 5,
    },
  },
  "errors-grpc": {
    ran: 44,
    skipped: {
      [otherMethod]: 3,
      "a model that the client refuses": 4,
      "an input that is no tensor": 12,
      "bytes that are no message": 2,
      "the client always sends a model spec": 1,
    },
  },
  "reload-lifecycle": { ran: 165, skipped: { [otherMethod]: 53 } },
  batching: { ran: 19, skipped: { [otherMethod]: 4, "the answer was not recorded as bytes": 5, "the request was not recorded": 1 } },
  flags: { ran: 26, skipped: { [otherMethod]: 12 } },
  metrics: { ran: 5, skipped: { [otherMethod]: 3 } },
};

describe.each(Object.entries(groups))("recorded exchanges of %s", (file, counts) => {
  let server: CannedGrpcServer;
  let client: PredictionClient;
  let answer: CannedAnswer;
  /** The first request of the call; the client may look up the signature after it, to explain a refusal. */
  let received: { path: string; bytes: Uint8Array } | undefined;

  beforeAll(async () => {
    server = await startCannedGrpcServer((request) => {
      if (received !== undefined) return { code: statusCodes.indexOf("NOT_FOUND"), message: "no more than one answer was recorded" };
      received = request;
      return answer;
    });
    client = new PredictionClient(server.target, { retry: false });
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
    console.log(`golden ${file} over gRPC: ${runnable.length} run`, skipped);
    expect({ ran: runnable.length, skipped }).toEqual(counts);
  });

  it.each(runnable.map((exchange) => [exchange.id, exchange] as const))("%s", async (_id, exchange) => {
    const { code, message, bytes } = exchange.response;
    answer = code === "OK" ? { bytes: bytesOf(bytes) } : { code: statusCodes.indexOf(code), message };
    received = undefined;
    const outcome = await call(client, exchange).catch((error: unknown) => error);

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
