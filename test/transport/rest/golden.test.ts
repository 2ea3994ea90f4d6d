import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isServingError, statusCodes } from "../../../src/errors.js";
import type { ModelSpec } from "../../../src/model-spec.js";
import { decodePredictResponse } from "../../../src/predict-codec.js";
import type { Signature } from "../../../src/signature.js";
import { isDType } from "../../../src/tensor/dtype.js";
import { isJsonDType, parseJson, tensorFromJson } from "../../../src/tensor/json.js";
import type { JsonObject, JsonValue } from "../../../src/tensor/json-parser.js";
import type { AnyTensor } from "../../../src/tensor/tensor.js";
import { createRestTransport } from "../../../src/transport/rest/transport.js";
import type { Transport } from "../../../src/transport/transport.js";
import { type CannedRestServer, startCannedRestServer } from "../../support/canned-rest-server.js";

interface RestExchange {
  id: string;
  model: string;
  case?: string;
  tolerance?: number;
  request: { method: string; target: string; body?: string; body_b64?: string };
  response?: { status: number; headers: [string, string][]; body?: string; body_b64?: string; body_length?: number };
}

interface GrpcExchange {
  model: string;
  case?: string;
  response: { code: string; message: string; bytes?: string };
}

function read<T>(file: string): T[] {
  const text = readFileSync(new URL(`../../fixtures/golden/${file}`, import.meta.url), "utf8");
  return (JSON.parse(text) as { exchanges: T[] }).exchanges;
}

const predictExchanges = read<RestExchange>("predict-rest.json");
const metadataExchanges = read<RestExchange>("metadata-status.json").filter(({ id }) => id.startsWith("metadata-status/rest/"));
const errorExchanges = read<RestExchange>("errors-rest.json");
const grpcCases = new Map(
  read<GrpcExchange>("predict-grpc.json").map((exchange) => [`${exchange.model}/${exchange.case}`, exchange.response]),
);

const bodyOf = (part: { body?: string; body_b64?: string }) =>
  part.body_b64 === undefined ? new TextEncoder().encode(part.body ?? "") : new Uint8Array(Buffer.from(part.body_b64, "base64"));

let server: CannedRestServer;
let transport: Transport;
beforeAll(async () => {
  server = await startCannedRestServer();
  transport = createRestTransport({ url: server.url });
});
afterAll(async () => {
  await transport.close();
  await server.close();
});

const options = () => ({ deadline: performance.now() + 10_000 });

/** Let the server answer as recorded from now on. */
function replay(response: NonNullable<RestExchange["response"]>): void {
  const headers = Object.fromEntries(response.headers.filter(([name]) => name.toLowerCase() !== "content-length"));
  server.seen.length = 0;
  server.answer = () => ({ status: response.status, headers, body: bodyOf(response) });
}

/** The model that a recorded target names; undefined for targets no call of ours can produce. */
function specOf(target: string): ModelSpec | undefined {
  const match = /^\/v1\/models\/([^/:]+)(?:\/versions\/(\d+)|\/labels\/([^/:]+))?(?::predict|\/metadata)?$/.exec(target);
  if (match === null) return undefined;
  const [, name = "", version, label] = match;
  if (version !== undefined) return { name: decodeURIComponent(name), version: BigInt(version) };
  return { name: decodeURIComponent(name), ...(label === undefined ? {} : { versionLabel: decodeURIComponent(label) }) };
}

/** Signatures of all models as the real server described them. */
async function recordedSignatures(): Promise<Map<string, Record<string, Signature>>> {
  const all = new Map<string, Record<string, Signature>>();
  for (const { request, response } of metadataExchanges) {
    const spec = specOf(request.target);
    if (!request.target.endsWith("/metadata") || spec === undefined || response?.status !== 200) continue;
    replay(response);
    const metadata = await transport.getModelMetadata(spec, options());
    all.set(spec.name, metadata.signatures);
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
  if (spec === undefined) return "target";
  const json = jsonOf(body);
  if (json === undefined) return "body that is not JSON";
  const signatureName = json.signature_name as string | undefined;
  const signature = signatures.get(spec.name)?.[signatureName || "serving_default"];
  if (signature === undefined) return "signature without inputs, which metadata leave out";
  const format = json.instances === undefined ? "column" : "row";
  const names = Object.keys(signature.inputs);
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
      if (isServingError(error, "TensorError")) return "value outside the range of its dtype";
      throw error;
    }
  }
  return { spec: { ...spec, ...(signatureName === undefined ? {} : { signatureName }) } as ModelSpec, signature, inputs, format };
}

function jsonOf(body: Uint8Array): JsonObject | undefined {
  try {
    return parseJson(body) as JsonObject;
  } catch (error) {
    if (isServingError(error, "FormatError")) return undefined;
    throw error;
  }
}

function byName(value: JsonValue, names: readonly string[]): JsonObject {
  const isMap = typeof value === "object" && value !== null && !Array.isArray(value) && !("b64" in value);
  return isMap ? (value as JsonObject) : { [names[0] as string]: value };
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

describe("predict against recorded answers", () => {
  it("sends what was recorded and reads what the real server answered", async () => {
    const signatures = await recordedSignatures();
    expect(signatures.size).toBe(16);
    const skipped: Record<string, number> = {};
    const done = { grpcTwin: 0, plain: 0, refusals: 0 };
    for (const exchange of predictExchanges) {
      const { id, request, response } = exchange;
      if (response === undefined || response.body_length !== undefined) {
        skipped["answer not kept"] = (skipped["answer not kept"] ?? 0) + 1;
        continue;
      }
      const call = callOf(request.target, bodyOf(request), signatures);
      if (typeof call === "string") {
        skipped[call] = (skipped[call] ?? 0) + 1;
        continue;
      }
      replay(response);
      const { spec, signature, inputs, format } = call;
      const running = transport.predict(spec, inputs, { ...options(), signature, restFormat: format });
      const outcome = await running.catch((error: unknown) => error as Error);

      expect(
        server.seen.map(({ method }) => method),
        id,
      ).toEqual(["POST"]);
      const sent = server.seen[0] as (typeof server.seen)[0];
      expect(decodeURIComponent(sent.target), id).toBe(decodeURIComponent(request.target.replace(/\/versions\/0+(?=\d)/, "/versions/")));
      const again = callOf(sent.target, sent.body, signatures);
      expect(again, id).toEqual(call);

      const twin = exchange.case === undefined ? undefined : grpcCases.get(`${exchange.model}/${exchange.case}`);
      if (outcome instanceof Error) {
        expect(response.status, `${id}: ${outcome.message}`).not.toBe(200);
        if (!isServingError(outcome, "RpcError")) throw outcome;
        expect(outcome.serverMessage, id).toBe((JSON.parse(response.body ?? "") as { error: string }).error);
        if (twin !== undefined && twin.code !== "OK") expect(outcome.code, id).toBe(twin.code);
        done.refusals++;
        continue;
      }
      expect(Object.keys(outcome.outputs).sort(), id).toEqual(Object.keys(signature.outputs).sort());
      if (twin?.bytes !== undefined) {
        const { outputs } = decodePredictResponse(Buffer.from(twin.bytes, "base64"));
        for (const [name, value] of Object.entries(outputs)) {
          expectClose(outcome.outputs[name] as AnyTensor, value, exchange.tolerance ?? 1e-6, `${id} ${name}`);
        }
        done.grpcTwin++;
        continue;
      }
      if (response.body === undefined) {
        skipped["answer that JSON.parse cannot read"] = (skipped["answer that JSON.parse cannot read"] ?? 0) + 1;
        continue;
      }
      const plain = plainOutputs(response.body, Object.keys(signature.outputs));
      for (const [name, value] of Object.entries(outcome.outputs)) {
        const want = plain[name]?.map((element) => plainElement(element, value.dtype));
        expect(plainValues(value), `${id} ${name}`).toEqual(want);
      }
      done.plain++;
    }
    expect({ done, skipped }).toEqual({
      done: { grpcTwin: 247, plain: 38, refusals: 43 },
      skipped: {
        "answer not kept": 1,
        "answer that JSON.parse cannot read": 1,
        "body that is not JSON": 1,
        "default, which our client fills in": 2,
        "dtype that REST cannot carry": 20,
        "name the signature lacks, which REST ignores": 1,
        "row format without rows": 9,
        "value outside the range of its dtype": 2,
      },
    });
    expect(done.grpcTwin + done.plain + done.refusals + Object.values(skipped).reduce((a, b) => a + b, 0)).toBe(predictExchanges.length);
  });
});

describe("metadata and status against recorded answers", () => {
  const asked = metadataExchanges.filter(({ request }) => specOf(request.target) !== undefined);

  it("covers all exchanges but those whose target no call produces", () => {
    const others = metadataExchanges.filter((exchange) => !asked.includes(exchange)).map(({ id }) => id.replace(/.*\//, ""));
    expect(others).toEqual(["no_model", "no_model_slash", "metadata_twice", "upper_case", "upper_case_metadata"]);
    expect(asked.length).toBe(47);
  });

  it.each(asked.map((exchange) => [exchange.id, exchange] as const))("%s", async (_, { request, response }) => {
    if (response === undefined) throw new Error("expected a recorded answer");
    const spec = specOf(request.target) as ModelSpec;
    replay(response);
    const method = /\/models\/.+\/metadata$/.test(request.target) ? "getModelMetadata" : "getModelStatus";
    const outcome = await transport[method](spec, options()).catch((error: unknown) => error);
    // A status request carries no label, because the server ignores it.
    const target = method === "getModelStatus" ? request.target.replace(/\/labels\/.*/, "") : request.target;
    expect(server.seen.map((seen) => `${seen.method} ${seen.target}`)).toEqual([`GET ${target.replace(/\/0+(?=[1-9])/, "/")}`]);
    const recorded = JSON.parse(response.body ?? "") as { error?: string; model_version_status: unknown };
    if (response.status !== 200) {
      expect(isServingError(outcome, "RpcError") && [outcome.code, outcome.serverMessage]).toEqual([
        response.status === 404 ? "NOT_FOUND" : "INVALID_ARGUMENT",
        recorded.error,
      ]);
    } else if (method === "getModelStatus") {
      const list = recorded.model_version_status as {
        version: string;
        state: string;
        status: { error_code: string; error_message: string };
      }[];
      expect(outcome).toEqual(
        list.map(({ version, state, status }) => ({
          version: BigInt(version),
          state,
          errorCode: status.error_code,
          errorMessage: status.error_message,
        })),
      );
    } else {
      const metadata = outcome as Awaited<ReturnType<Transport["getModelMetadata"]>>;
      const listed = recorded as unknown as {
        model_spec: { version: string };
        metadata: { signature_def: { signature_def: Record<string, { inputs: object; outputs: object }> } };
      };
      expect(metadata.modelSpec).toEqual({ name: spec.name, version: BigInt(listed.model_spec.version) });
      const names = Object.keys(listed.metadata.signature_def.signature_def).filter((name) => name !== "__saved_model_init_op");
      expect(Object.keys(metadata.signatures)).toEqual(names);
      for (const name of names) {
        const definition = listed.metadata.signature_def.signature_def[name];
        expect(Object.keys(metadata.signatures[name]?.inputs ?? {})).toEqual(Object.keys(definition?.inputs ?? {}));
        expect(Object.keys(metadata.signatures[name]?.outputs ?? {})).toEqual(Object.keys(definition?.outputs ?? {}));
      }
    }
  });

  it("reads defaults, dims and dtypes", async () => {
    const signature = (await recordedSignatures()).get("signature_defaults")?.serving_default;
    expect(signature?.methodName).toBe("tensorflow/serving/predict");
    expect(signature?.inputs.x).toEqual({ dtype: "float32", shape: [null, 2] });
    expect(signature?.inputs.offset?.default?.values).toEqual(Float32Array.of(1, -1));
    expect(signature?.inputs.scale).toMatchObject({ dtype: "float32", shape: [] });
    expect(signature?.inputs.scale?.default?.values).toEqual(Float32Array.of(2));
    const zoo = (await recordedSignatures()).get("dtype_zoo");
    expect(
      Object.values(zoo ?? {})
        .flatMap(({ inputs }) => Object.values(inputs))
        .filter(({ dtype }) => !isDType(dtype)),
    ).toEqual([]);
    expect(zoo?.half?.inputs.x?.dtype).toBe("float16");
    expect(zoo?.double?.inputs.x?.dtype).toBe("float64");
  });
});

describe("errors against recorded answers", () => {
  const failed = errorExchanges.filter(
    ({ response, request }) => response?.headers !== undefined && response.status >= 400 && request.method !== "HEAD",
  );

  it("has recorded refusals", () => {
    expect(failed.length).toBe(155);
  });

  it.each(failed.map((exchange) => [exchange.id, exchange] as const))("%s", async (_, { response }) => {
    if (response === undefined) throw new Error("expected a recorded answer");
    replay(response);
    const error = await transport.getModelStatus({ name: "m" }, options()).catch((caught: unknown) => caught);
    if (!isServingError(error, "RpcError")) throw error;
    expect(statusCodes).toContain(error.code);
    const text = new TextDecoder().decode(bodyOf(response));
    if (text.startsWith("{")) {
      const { error: words } = JSON.parse(text) as { error: string };
      expect(error.serverMessage).toBe(words);
      expect(error.code).toBe(expectedCode(response.status, words));
    } else {
      expect(error.serverMessage).toContain(`HTTP ${response.status} `);
      expect(error.serverMessage).toContain(text.replace(/\s+/g, " ").trim().slice(0, 40));
      expect(error.code).toBe(response.status === 404 ? "UNIMPLEMENTED" : expectedCode(response.status, ""));
    }
  });

  /** What gRPC gives for the same fault. */
  function expectedCode(status: number, text: string): string {
    if (text.startsWith("Serving signature name:")) return "FAILED_PRECONDITION";
    const codes: Record<number, string> = {
      400: "INVALID_ARGUMENT",
      404: "NOT_FOUND",
      413: "RESOURCE_EXHAUSTED",
      501: "UNIMPLEMENTED",
      417: "UNKNOWN",
    };
    return codes[status] ?? `no code for ${status}`;
  }
});
