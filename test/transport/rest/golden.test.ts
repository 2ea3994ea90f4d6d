/** Predicts recorded from TensorFlow Serving 2.20.0 over REST, sent by the public client to a server that returns the recorded answers. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PredictionClient } from "../../../src/client/prediction-client.js";
import { isServingError } from "../../../src/errors.js";
import type { ModelSpec } from "../../../src/model-spec.js";
import { decodePredictResponse } from "../../../src/predict-codec.js";
import type { Signature } from "../../../src/signature.js";
import { isDType } from "../../../src/tensor/dtype.js";
import { isJsonDType, parseJson, tensorFromJson } from "../../../src/tensor/json.js";
import type { JsonObject, JsonValue } from "../../../src/tensor/json-parser.js";
import type { AnyTensor } from "../../../src/tensor/tensor.js";
import type { PredictResult } from "../../../src/transport/transport.js";
import { type CannedRestServer, startCannedRestServer } from "../../support/canned-rest-server.js";
import {
  bodyOf,
  cannedAnswer,
  isRefused,
  lookExchanges,
  predictExchanges,
  type RecordedAnswer,
  type RestExchange,
  read,
  recordedMetadata,
  restExchanges,
  specOf,
} from "./golden-exchanges.js";

interface GrpcExchange {
  model: string;
  case?: string;
  response: { code: string; message: string; bytes?: string };
}

const grpcCases = new Map(
  read<GrpcExchange>("predict-grpc.json").map((exchange) => [`${exchange.model}/${exchange.case}`, exchange.response]),
);

let server: CannedRestServer;
let client: PredictionClient;
beforeAll(async () => {
  server = await startCannedRestServer();
  client = new PredictionClient(server.url, { check: false });
});
afterAll(async () => {
  await client.close();
  await server.close();
});

/** Signatures of all models as the real server described them. */
async function recordedSignatures(): Promise<Map<string, Record<string, Signature>>> {
  const all = new Map<string, Record<string, Signature>>();
  for (const [name, response] of recordedMetadata) {
    server.answer = () => cannedAnswer(response);
    all.set(name, (await client.getModelMetadata(name)).signatures);
  }
  return all;
}

interface Call {
  readonly spec: ModelSpec;
  readonly signature: Signature;
  readonly inputs: Record<string, AnyTensor>;
  readonly format: "column" | "row";
}

/** The call behind a recorded body, or why our API has no such call. */
function callOf(target: string, body: Uint8Array, signatures: Map<string, Record<string, Signature>>): Call | string {
  const spec = specOf(target);
  if (spec === undefined || !target.endsWith(":predict")) return "target";
  if (isRefused(spec)) return "a version that the client refuses";
  const known = signatures.get(spec.name);
  if (known === undefined) return "unknown model, whose metadata are refused first";
  const json = jsonOf(body);
  if (json === undefined) return "body that is no JSON object";
  const { signature_name: signatureName = undefined, ...rest } = json;
  if (signatureName !== undefined && typeof signatureName !== "string") return "signature name that is no text";
  if (Object.keys(rest).join() !== "inputs" && Object.keys(rest).join() !== "instances") return "body with other keys";
  const signature = known[signatureName || "serving_default"];
  if (signature === undefined) return "signature that the metadata do not list";
  const format = json.instances === undefined ? "column" : "row";
  const names = Object.keys(signature.inputs);
  if (format === "row" && !Array.isArray(json.instances)) return "instances that are no list";
  if (names.length > 1 && !isMap(format === "row" ? (json.instances as JsonValue[])[0] : json.inputs))
    return "several inputs without names";
  if (Object.values(signature.inputs).some(({ dtype }) => !isJsonDType(dtype))) return "dtype that REST cannot carry";
  const named = format === "row" ? rowsByName(json.instances as JsonValue[], names) : byName(json.inputs as JsonValue, names);
  if (Object.keys(named).some((name) => !names.includes(name))) return "name the signature lacks, which REST ignores";
  if (names.some((name) => named[name] === undefined && signature.inputs[name]?.default === undefined)) return "required input left out";
  if (names.some((name) => named[name] === undefined)) return "default, which our client fills in";
  if (format === "row" && (json.instances as JsonValue[]).length === 0) return "row format without rows";
  const inputs: Record<string, AnyTensor> = Object.create(null);
  for (const name of names) {
    const { dtype } = signature.inputs[name] as Signature["inputs"][string];
    if (!isDType(dtype)) return "dtype that REST cannot carry";
    try {
      inputs[name] = tensorFromJson(named[name] as JsonValue, dtype, name);
    } catch (error) {
      if (isServingError(error, "TensorError")) return "value that is none of the dtype, or ragged";
      throw error;
    }
  }
  return { spec: { ...spec, ...(signatureName === undefined ? {} : { signatureName }) } as ModelSpec, signature, inputs, format };
}

function jsonOf(body: Uint8Array): JsonObject | undefined {
  try {
    const json = parseJson(body);
    return isMap(json) ? json : undefined;
  } catch (error) {
    if (isServingError(error, "FormatError")) return undefined;
    throw error;
  }
}

function isMap(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}

function byName(value: JsonValue, names: readonly string[]): JsonObject {
  return isMap(value) && !("b64" in value) ? value : { [names[0] as string]: value };
}

function rowsByName(rows: readonly JsonValue[], names: readonly string[]): JsonObject {
  const items = rows.map((row) => byName(row, names));
  return Object.fromEntries(names.map((name) => [name, items.map((item) => item[name] as JsonValue)]));
}

/** Subnormal numbers become 0 over REST. */
const normal = (value: number, dtype: string) => (Math.abs(value) < (dtype === "float32" ? 2 ** -126 : 2 ** -1022) ? 0 : value);

function expectClose(actual: AnyTensor, expected: AnyTensor, tolerance: number, what: string): void {
  // Lists do not tell the sizes behind a 0: the recorded call itself could not send them.
  const shape = expected.size === 0 ? actual.shape : expected.shape;
  const { dtype, size } = expected;
  expect({ what, dtype: actual.dtype, size: actual.size, shape: actual.shape }).toEqual({ what, dtype, size, shape });
  if (actual.dtype !== "float32" && actual.dtype !== "float64") {
    expect(actual.values, what).toEqual(expected.values);
    return;
  }
  const want = Array.from(expected.values as Float32Array, (value) => normal(value, actual.dtype));
  const scale = want.reduce((max, value) => (Number.isFinite(value) ? Math.max(max, Math.abs(value)) : max), 1);
  const wrong = want.findIndex((value, i) => {
    const got = actual.values[i] as number;
    return !Object.is(got, value) && got !== value && !(Math.abs(got - value) <= tolerance * scale);
  });
  expect({ what, wrong, got: actual.values[wrong], want: want[wrong] }).toEqual({ what, wrong: -1, got: undefined, want: undefined });
}

/** All elements of an answer in order, read with `JSON.parse`: exact enough where there is no gRPC twin. */
function plainOutputs(text: string, names: readonly string[]): Record<string, unknown[]> {
  const json = JSON.parse(text.replace(/(-?)\b(NaN|Infinity)\b/g, '"$1$2"')) as { outputs?: unknown; predictions?: unknown };
  const value = json.outputs ?? json.predictions;
  const pick = (name: string): unknown => {
    if (names.length === 1) return value;
    if (json.predictions === undefined) return (value as Record<string, unknown>)[name];
    return (value as Record<string, unknown>[]).map((row) => row[name]);
  };
  return Object.fromEntries(names.map((name) => [name, [pick(name)].flat(Number.POSITIVE_INFINITY)]));
}

function plainValues(value: AnyTensor): unknown[] {
  return Array.from(value.values as ArrayLike<unknown>, (element) => {
    if (element instanceof Uint8Array) return Buffer.from(element).toString("latin1");
    if (value.dtype === "bool") return element === 1;
    return typeof element === "bigint" ? Number(element) : element;
  });
}

const plainElement = (element: unknown, dtype: string): unknown => {
  if (typeof element === "object" && element !== null) return Buffer.from((element as { b64: string }).b64, "base64").toString("latin1");
  if (typeof element === "string" && dtype !== "string") return Number(element);
  if (typeof element === "string") return Buffer.from(element, "utf8").toString("latin1");
  return dtype === "float32" ? Math.fround(element as number) : element;
};

type Outcome = "grpcTwin" | "plain" | "refusal";

/** Make the recorded call; the look-up of its signature gets the model's recorded metadata. */
async function predictAgain({ spec, inputs, format }: Call, response: RecordedAnswer) {
  const metadata = recordedMetadata.get(spec.name) as RecordedAnswer;
  server.seen.length = 0;
  server.answer = ({ method }) => cannedAnswer(method === "GET" ? metadata : response);
  const outcome = await client.predict(spec, inputs, { restFormat: format }).catch((error: unknown) => error as Error);
  return { outcome, posts: server.seen.filter(({ method }) => method === "POST") };
}

/** Compare an outcome with the recorded answer, and with what gRPC answered to the same case where that was recorded. */
function expectAnswer(exchange: RestExchange, { signature }: Call, outcome: PredictResult | Error): Outcome | string {
  const { id, response, tolerance = 1e-6 } = exchange;
  const twin = exchange.case === undefined ? undefined : grpcCases.get(`${exchange.model}/${exchange.case}`);
  if (outcome instanceof Error) {
    expect(response?.status, `${id}: ${outcome.message}`).not.toBe(200);
    if (!isServingError(outcome, "RpcError")) throw outcome;
    expect(outcome.serverMessage, id).toBe((JSON.parse(response?.body ?? "") as { error: string }).error);
    if (twin !== undefined && twin.code !== "OK") expect(outcome.code, id).toBe(twin.code);
    return "refusal";
  }
  expect(response?.status, id).toBe(200);
  expect(Object.keys(outcome.outputs).sort(), id).toEqual(Object.keys(signature.outputs).sort());
  if (twin?.bytes !== undefined) {
    const { outputs } = decodePredictResponse(Buffer.from(twin.bytes, "base64"));
    for (const [name, value] of Object.entries(outputs)) {
      expectClose(outcome.outputs[name] as AnyTensor, value, tolerance, `${id} ${name}`);
    }
    return "grpcTwin";
  }
  if (response?.body === undefined) return "answer that JSON.parse cannot read";
  const plain = plainOutputs(response.body, Object.keys(signature.outputs));
  for (const [name, value] of Object.entries(outcome.outputs)) {
    const want = plain[name]?.map((element) => plainElement(element, value.dtype));
    expect(plainValues(value), `${id} ${name}`).toEqual(want);
  }
  return "plain";
}

describe("the recordings", () => {
  it("hold nothing over REST that is in none of the groups here, but what no client sends", () => {
    const others = restExchanges.filter((exchange) => !predictExchanges.includes(exchange) && !lookExchanges.includes(exchange));
    const counts: Record<string, number> = {};
    for (const { request } of others) {
      const isInference = /:(classify|regress)$/.test(request.target);
      const kind = isInference ? "golden-inference.test.ts covers it" : request.method === "GET" ? "GET with a body" : request.method;
      counts[kind] = (counts[kind] ?? 0) + 1;
    }
    expect(counts).toEqual({
      CONNECT: 1,
      DELETE: 1,
      "GET with a body": 1,
      HEAD: 1,
      OPTIONS: 6,
      PUT: 1,
      TRACE: 1,
      get: 1,
      "golden-inference.test.ts covers it": 1,
    });
  });
});

describe("predict against recorded answers", () => {
  it("sends what was recorded and reads what the real server answered", async () => {
    const signatures = await recordedSignatures();
    expect(signatures.size).toBe(16);
    const counts: Record<string, number> = {};
    for (const exchange of predictExchanges) {
      const { id, request, response } = exchange;
      const hasForeignHeaders = request.headers?.some(([name]) => /^(content-encoding|expect)$/i.test(name)) ?? false;
      const call = hasForeignHeaders ? "headers that the client sets itself" : callOf(request.target, bodyOf(request), signatures);
      const isKept = response !== undefined && response.body_length === undefined && exchange.compare !== "status";
      let kind = typeof call === "string" ? call : "answer not kept";
      if (typeof call !== "string" && isKept) {
        const { outcome, posts } = await predictAgain(call, response);
        expect(posts.length, `${id}: ${outcome}`).toBe(1);
        const { target = "", body = new Uint8Array() } = posts[0] ?? {};
        expect(decodeURIComponent(target), id).toBe(decodeURIComponent(request.target.replace(/\/versions\/0+(?=\d)/, "/versions/")));
        expect(callOf(target, body, signatures), id).toEqual(call);
        kind = expectAnswer(exchange, call, outcome);
      }
      counts[kind] = (counts[kind] ?? 0) + 1;
    }
    console.log(`golden predict over REST: ${predictExchanges.length} exchanges`, counts);
    expect(counts).toEqual({
      grpcTwin: 247,
      plain: 59,
      refusal: 51,
      "a version that the client refuses": 1,
      "answer not kept": 6,
      "answer that JSON.parse cannot read": 3,
      "body that is no JSON object": 45,
      "body with other keys": 4,
      "default, which our client fills in": 2,
      "dtype that REST cannot carry": 20,
      "headers that the client sets itself": 8,
      "instances that are no list": 2,
      "name the signature lacks, which REST ignores": 2,
      "required input left out": 1,
      "row format without rows": 10,
      "several inputs without names": 2,
      "signature name that is no text": 1,
      "signature that the metadata do not list": 3,
      target: 20,
      "unknown model, whose metadata are refused first": 5,
      "value that is none of the dtype, or ragged": 38,
    });
  });
});
