/** Classify and Regress recorded from TensorFlow Serving 2.20.0 over REST, sent by the public client. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PredictionClient } from "../../../src/client/prediction-client.js";
import type { StatusCode } from "../../../src/errors.js";
import type { Example, Feature } from "../../../src/example-codec.js";
import { defaultSignatureName, type ModelSpec } from "../../../src/model-spec.js";
import { parseJson } from "../../../src/tensor/json.js";
import type { JsonObject, JsonValue } from "../../../src/tensor/json-parser.js";
import { type CannedRestServer, startCannedRestServer } from "../../support/canned-rest-server.js";

interface RestExchange {
  readonly id: string;
  readonly request: { readonly method: "POST"; readonly target: string; readonly body: string };
  readonly response: { readonly status: number; readonly headers: readonly [string, string][]; readonly body: string };
}

interface GrpcExchange {
  readonly id: string;
  readonly response: { readonly code: StatusCode };
}

function recorded(file: string): (RestExchange | GrpcExchange)[] {
  const text = readFileSync(new URL(`../../fixtures/golden/${file}.json`, import.meta.url), "utf8");
  return (JSON.parse(text) as { exchanges: (RestExchange | GrpcExchange)[] }).exchanges;
}

const all = recorded("classify-regress");
const exchanges = [...all, ...recorded("metrics")].filter(
  (exchange): exchange is RestExchange => "request" in exchange && /:(classify|regress)$/.test((exchange as RestExchange).request.target),
);
/** What gRPC answered to the same case, by the id of the REST exchange. */
const grpcCodes = new Map(
  all.flatMap((exchange) => ("code" in exchange.response ? [[exchange.id.replace(/\/grpc$/, "/rest"), exchange.response.code]] : [])),
);

interface Call {
  readonly method: "classify" | "regress";
  readonly spec: ModelSpec;
  readonly examples: Example[];
  readonly context?: Example;
}

/** The call behind a recorded request, or why our API has no such call. */
function callOf(target: string, body: string | Uint8Array): Call | string {
  const match = /^\/v1\/models\/([^/:]+)(?:\/versions\/(\d+))?:(classify|regress)$/.exec(target);
  if (match === null) return "target";
  const json = jsonOf(body);
  const { signature_name: signatureName, examples, context } = json ?? {};
  if (!Array.isArray(examples) || examples.length === 0) return "body without a list of examples";
  const [, name = "", version, method] = match;
  const converted = examples.map(exampleOf);
  const shared = context === undefined ? undefined : exampleOf(context);
  if ([...converted, shared].includes(null)) return "what is no example or feature";
  return {
    method: method as Call["method"],
    spec: {
      name,
      ...(version === undefined ? {} : { version: BigInt(version) }),
      ...(signatureName === undefined ? {} : { signatureName: signatureName as string }),
    },
    examples: converted as Example[],
    ...(shared == null ? {} : { context: shared }),
  };
}

function jsonOf(body: string | Uint8Array): JsonObject | undefined {
  try {
    return parseJson(typeof body === "string" ? new TextEncoder().encode(body) : body) as JsonObject;
  } catch {
    // A FormatError: recorded to be refused.
    return undefined;
  }
}

function exampleOf(value: JsonValue): Example | null {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
  const features = Object.entries(value as JsonObject).map(([name, feature]) => [name, featureOf(feature)] as const);
  return features.some(([, feature]) => feature === null) ? null : (Object.fromEntries(features) as Example);
}

function featureOf(value: JsonValue): Feature | null {
  const values = Array.isArray(value) ? value : [value];
  if (values.length === 0) return { kind: "none", values: [] };
  if (values.every((one) => typeof one === "number")) return { kind: "float", values: values.map(Math.fround) };
  // The server takes no larger ones.
  if (values.every((one) => typeof one === "bigint" && one < 2n ** 63n)) return { kind: "int64", values: values as bigint[] };
  const bytes = values.map(bytesOf);
  return bytes.includes(undefined) ? null : { kind: "bytes", values: bytes as Uint8Array[] };
}

function bytesOf(value: JsonValue): Uint8Array | undefined {
  if (typeof value === "string") return new TextEncoder().encode(value);
  const b64 = typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject)["b64"] : undefined;
  const decoded = typeof b64 === "string" ? new Uint8Array(Buffer.from(b64, "base64")) : undefined;
  return decoded !== undefined && Buffer.from(decoded).toString("base64") === b64 ? decoded : undefined;
}

/** The results in a recorded body, read without our parser. */
function resultsOf(body: string): unknown {
  const quoted = body.replace(/(-?)\b(NaN|Infinity)\b/g, '"$1$2"');
  const float = (value: unknown) => Math.fround(Number(value));
  return (JSON.parse(quoted) as { results: unknown[] }).results.map((result) =>
    Array.isArray(result) ? result.map(([label, score]: [string, unknown]) => ({ label, score: float(score) })) : float(result),
  );
}

describe("classify and regress against recorded answers", () => {
  let server: CannedRestServer;
  let client: PredictionClient;
  beforeAll(async () => {
    server = await startCannedRestServer();
    client = new PredictionClient(server.url);
  });
  afterAll(async () => {
    await client.close();
    await server.close();
  });

  const made = exchanges.map((exchange) => ({ exchange, call: callOf(exchange.request.target, exchange.request.body) }));
  const runnable = made.flatMap(({ exchange, call }) => (typeof call === "string" ? [] : [[exchange.id, exchange, call] as const]));

  it("run every exchange or skip it for a reason", () => {
    const skipped: Record<string, number> = {};
    for (const { call } of made) if (typeof call === "string") skipped[call] = (skipped[call] ?? 0) + 1;
    const refused = runnable.filter(([, { response }]) => response.status !== 200).length;
    console.log(`golden classify and regress over REST: ${runnable.length} run`, skipped);
    expect({ answered: runnable.length - refused, refused, skipped }).toEqual({
      answered: 37,
      refused: 12,
      skipped: { "body without a list of examples": 6, "what is no example or feature": 9 },
    });
  });

  it.each(runnable)("%s", async (id, { request, response }, { method, spec, examples, context }) => {
    const headers = Object.fromEntries(response.headers.filter(([name]) => name.toLowerCase() !== "content-length"));
    server.seen.length = 0;
    server.answer = () => ({ status: response.status, headers, body: response.body });
    const outcome = await client[method](spec, examples, { context }).catch((error: unknown) => error);

    expect(server.seen).toHaveLength(1);
    const sent = server.seen[0] as CannedRestServer["seen"][number];
    expect(`${sent.method} ${sent.target}`).toBe(`${request.method} ${request.target}`);
    expect(callOf(sent.target, sent.body)).toEqual(callOf(request.target, request.body));
    if (response.status === 200) {
      expect(outcome).toEqual({
        results: resultsOf(response.body),
        modelSpec: { signatureName: defaultSignatureName, ...spec },
      });
      return;
    }
    const { error: serverMessage } = JSON.parse(response.body) as { error: string };
    const code = grpcCodes.get(id) ?? (response.status === 404 ? "NOT_FOUND" : "INVALID_ARGUMENT");
    expect(outcome).toMatchObject({ name: "RpcError", code, serverMessage, transport: "rest" });
  });
});
