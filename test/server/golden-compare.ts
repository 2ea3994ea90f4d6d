/** What of a recorded answer counts, by the rules of the README beside the recordings. All functions say what differs, if anything. */
import Long from "long";
import { ClassificationResponse } from "../../gen/tensorflow_serving/apis/classification.js";
import { GetModelMetadataResponse, SignatureDefMap } from "../../gen/tensorflow_serving/apis/get_model_metadata.js";
import { GetModelStatusResponse } from "../../gen/tensorflow_serving/apis/get_model_status.js";
import { MultiInferenceResponse } from "../../gen/tensorflow_serving/apis/inference.js";
import { ReloadConfigResponse } from "../../gen/tensorflow_serving/apis/model_management.js";
import { PredictResponse } from "../../gen/tensorflow_serving/apis/predict.js";
import { RegressionResponse } from "../../gen/tensorflow_serving/apis/regression.js";
import type { Exchange, RestResponse } from "./golden-exchanges.js";
import type { RawGrpcAnswer } from "./raw-grpc.js";
import type { RawAnswer } from "./raw-http.js";

type Difference = string | undefined;

/** What the comparison of an answer is told of its exchange. */
export type Rules = Pick<Exchange, "depends_on_model" | "compare" | "transport_text" | "tolerance">;

const defaultTolerance = 1e-6;

// gRPC

const decoders: Readonly<Record<string, (bytes: Uint8Array) => unknown>> = {
  Predict: (bytes) => PredictResponse.decode(bytes),
  Classify: (bytes) => ClassificationResponse.decode(bytes),
  Regress: (bytes) => RegressionResponse.decode(bytes),
  MultiInference: (bytes) => MultiInferenceResponse.decode(bytes),
  GetModelStatus: (bytes) => GetModelStatusResponse.decode(bytes),
  HandleReloadConfigRequest: (bytes) => ReloadConfigResponse.decode(bytes),
  GetModelMetadata: (bytes) => {
    const { modelSpec, metadata } = GetModelMetadataResponse.decode(bytes);
    const fields = Object.entries(metadata).map(([name, any]) => [name, any.typeUrl, SignatureDefMap.decode(any.value)]);
    return { modelSpec, fields };
  },
};

/** Compare a gRPC answer with the recorded one. */
export function grpcDifference(actual: RawGrpcAnswer, { request, response, ...rules }: Exchange): Difference {
  const expected = response.message_b64 === undefined ? (response.message ?? "") : Buffer.from(response.message_b64, "base64").toString();
  const said = messageDifference(actual, { code: response.code, message: expected }, rules);
  if (said !== undefined || response.code !== "OK") return said;
  const bytes = actual.bytes ?? new Uint8Array(0);
  if (response.bytes === undefined) return same(`${bytes.length} bytes`, `${response.length} bytes`);
  return answerDifference(request.method, bytes, Buffer.from(response.bytes, "base64"), rules.tolerance);
}

/** Compare code and text of an answer. */
export function messageDifference(actual: RawGrpcAnswer, expected: { code: string; message: string }, rules: Rules): Difference {
  if (actual.code !== expected.code) return `expected ${expected.code} ${expected.message}, got ${actual.code} ${actual.message}`;
  if (rules.transport_text !== undefined) return undefined;
  return same(comparable(actual.message, rules), comparable(expected.message, rules));
}

/** Compare two encoded answers of a method. */
export function answerDifference(method: string, actual: Uint8Array, expected: Uint8Array, tolerance?: number): Difference {
  const decode = decoders[method.split("/").at(-1) ?? ""] ?? ((bytes: Uint8Array) => bytes);
  return valueDifference(plain(decode(actual)), plain(decode(expected)), { path: "answer", tolerance });
}

/** A message as plain data: 64-bit numbers and bytes as text, without what is not set. */
export function plain(value: unknown): unknown {
  if (Long.isLong(value)) return String(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).flatMap(([name, field]) => (field === undefined ? [] : [[name, plain(field)]])));
}

/** Fields of messages that hold floats; all others are exact. */
const floatFields = /\.(floatVal|doubleVal|scomplexVal|dcomplexVal|score|value)(\[\])?$/;

interface Place {
  readonly path: string;
  readonly tolerance?: number | undefined;
}

/** Where plain values differ; floats may by the tolerance, relative to the largest of their list. */
export function valueDifference(actual: unknown, expected: unknown, { path, tolerance }: Place, largest = 1): Difference {
  if (typeof actual === "number" && typeof expected === "number" && floatFields.test(path)) {
    return isClose(actual, expected, largest, tolerance) ? undefined : `${path}: expected ${expected}, got ${actual}`;
  }
  if (Array.isArray(actual) && Array.isArray(expected)) {
    if (actual.length !== expected.length) return `${path}: expected ${expected.length} items, got ${actual.length}`;
    const own = largestOf(expected.filter((item) => typeof item === "number"));
    return firstOf(expected, (item, index) => valueDifference(actual[index], item, { path: `${path}[]`, tolerance }, own));
  }
  if (isRecord(actual) && isRecord(expected)) {
    const names = same(Object.keys(actual).sort().join(), Object.keys(expected).sort().join());
    if (names !== undefined) return `${path}: ${names}`;
    return firstOf(Object.keys(expected), (name) => valueDifference(actual[name], expected[name], { path: `${path}.${name}`, tolerance }));
  }
  return Object.is(actual, expected) ? undefined : `${path}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`;
}

// REST

/** Compare a REST answer with the recorded one. */
export function restDifference(actual: RawAnswer, expected: RestResponse, rules: Rules): Difference {
  const status = same(`${actual.status} ${actual.reason}`, `${expected.status} ${expected.reason}`);
  if (status !== undefined) return `${status}: ${actual.body.toString("latin1").slice(0, 300)}`;
  if (rules.compare === "status") return undefined;
  const headers = headersDifference(actual, expected);
  if (headers !== undefined) return headers;
  if (expected.body_length !== undefined) return same(`${actual.body.length} bytes`, `${expected.body_length} bytes`);
  const body = expected.body_b64 === undefined ? Buffer.from(expected.body ?? "") : Buffer.from(expected.body_b64, "base64");
  return bodyDifference(actual.body.toString("latin1"), body.toString("latin1"), rules, expected.status >= 400);
}

/** `Content-Length` counts the actual body. */
function headersDifference({ headerList, body }: RawAnswer, { headers }: RestResponse): Difference {
  const shown = (list: readonly (readonly [string, string])[]) =>
    list
      .filter(([name]) => name !== "Date")
      .map(([name, value]) => `${name}: ${name === "Content-Length" ? "#" : value}`)
      .join("\n");
  const length = headerList.find(([name]) => name === "Content-Length")?.[1] ?? String(body.length);
  return same(shown(headerList), shown(headers)) ?? same(length, String(body.length));
}

function bodyDifference(actual: string, expected: string, rules: Rules, isError: boolean): Difference {
  if (isError) return same(comparable(actual, rules), comparable(expected, rules));
  if (actual === expected || sameText(actual, expected, rules.tolerance)) return undefined;
  // Several outputs or signatures come in any order.
  const lines = (text: string) => text.replace(floatToken, "#").replaceAll(",", "").split("\n").sort().join("\n");
  const layout = same(lines(actual), lines(expected));
  const [got, want] = [sorted(actual), sorted(expected)];
  return layout ?? (sameText(got, want, rules.tolerance) ? undefined : same(got, want));
}

const floatToken = /-?(?:\d+\.\d+(?:e[+-]\d+)?|\d+e[+-]\d+|Infinity|NaN)/g;

/** Whether texts are the same but for the last digits of their floats. */
function sameText(actual: string, expected: string, tolerance?: number): boolean {
  if (actual.replace(floatToken, "#") !== expected.replace(floatToken, "#")) return false;
  const wanted = (expected.match(floatToken) ?? []).map(Number);
  const largest = largestOf(wanted);
  return (actual.match(floatToken) ?? []).every((token, index) => isClose(Number(token), wanted[index] ?? 0, largest, tolerance));
}

/** A JSON text without blanks, names in order. */
function sorted(text: string): string {
  const tokens = text.replace(/"(?:[^"\\]|\\.)*"|-?(?:Infinity|NaN)|-?\d[\d.eE+-]*/g, (token) =>
    token[0] === '"' ? token : `"#${token}"`,
  );
  return JSON.stringify(JSON.parse(tokens), (_name, value: unknown) =>
    isRecord(value) ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value,
  );
}

// Texts and numbers

/** The part of a message that counts. */
function comparable(message: string, { depends_on_model: needsGraph, compare }: Rules): string {
  // Behind it stand the names of graph nodes.
  const text = needsGraph ? (message.split(/\n|\\n| \[\[\{\{/)[0] ?? "") : message;
  return compare === "sets" ? anyOrder(text) : text;
}

/** A text that lists names in any order, and names any one of several inputs or outputs. */
function anyOrder(text: string): string {
  return text
    .replace(/\w+(?:,\w+)+/g, (list) => list.split(",").sort().join(","))
    .replace(/alias: \w+\(feed name: [\w:]+\)/, "alias: ?")
    .replace(/Missing named input: \w+/, "Missing named input: ?")
    .replace(/Tensor name: .*(?= )/, "Tensor name: ? ");
}

function isClose(actual: number, expected: number, largest: number, tolerance = defaultTolerance): boolean {
  return Object.is(actual, expected) || Math.abs(actual - expected) <= tolerance * largest;
}

function largestOf(values: readonly number[]): number {
  return values.reduce((largest, value) => (Number.isFinite(value) ? Math.max(largest, Math.abs(value)) : largest), 1);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The first difference among items. */
export function firstOf<T>(items: readonly T[], difference: (item: T, index: number) => Difference): Difference {
  for (const [index, item] of items.entries()) {
    const found = difference(item, index);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Where two texts begin to differ. */
export function same(actual: string, expected: string): Difference {
  if (actual === expected) return undefined;
  let at = 0;
  while (actual[at] === expected[at]) at++;
  const shown = (text: string) => JSON.stringify(text.slice(Math.max(0, at - 40), at + 160));
  return `expected ${shown(expected)}, got ${shown(actual)}`;
}
