/** Bodies of Classify and Regress over REST: examples -> bytes of the request, bytes of the answer -> results. */
import type { Example, Feature } from "../../example-codec.js";
import { jsonTypeName } from "../../tensor/json.js";
import type { JsonValue } from "../../tensor/json-parser.js";
import { JsonPrinter } from "../../tensor/json-print.js";
import { tensor } from "../../tensor/tensor.js";
import type { ScoredLabel } from "../transport.js";
import { asObject, parseAnswer } from "./bodies.js";

/** The body of a request. */
export function writeExamplesBody(signatureName: string | undefined, examples: readonly Example[], context?: Example): Uint8Array {
  const printer = new JsonPrinter({ floatPoint: true });
  printer.raw("{");
  if (signatureName !== undefined) printer.raw(`"signature_name":${JSON.stringify(signatureName)},`);
  if (context !== undefined) printExample(printer.raw('"context":'), context).raw(",");
  printer.raw('"examples":[');
  examples.forEach((example, index) => void printExample(index === 0 ? printer : printer.raw(","), example));
  return printer.raw("]}").bytes();
}

/**
 * The server takes the kind of a feature from its first token and never asks the model: floats always have a point or an exponent, integers
 * never. An empty list has no token, so the server reads it as a feature without a kind, whatever its kind was.
 */
function printExample(printer: JsonPrinter, example: Example): JsonPrinter {
  printer.raw("{");
  Object.entries(example).forEach(([name, feature], index) => {
    printFeature(printer.raw(`${index === 0 ? "" : ","}${JSON.stringify(name)}:`), feature);
  });
  return printer.raw("}");
}

function printFeature(printer: JsonPrinter, feature: Feature): void {
  // A single value goes without brackets: the server reads both forms alike.
  const shape = feature.values.length === 1 ? [] : [feature.values.length];
  if (feature.kind === "float") printer.tensor(tensor("float32", shape, [...feature.values]));
  else if (feature.kind === "int64") printer.tensor(tensor("int64", shape, [...feature.values]));
  else if (feature.kind === "bytes") printer.tensor(tensor("string", shape, [...feature.values]));
  else printer.raw("[]");
}

/**
 * The classes of each example in an answer.
 *
 * @throws Error if the answer has another form.
 */
export function readClassifyBody(bytes: Uint8Array): ScoredLabel[][] {
  return readResults(bytes).map((classes, index) =>
    asList(classes, `results[${index}]`).map((pair, place) => readScoredLabel(pair, `results[${index}][${place}]`)),
  );
}

/**
 * The value of each example in an answer.
 *
 * @throws Error if the answer has another form.
 */
export function readRegressBody(bytes: Uint8Array): number[] {
  return readResults(bytes).map((value, index) => readFloat(value, `results[${index}]`));
}

function readResults(bytes: Uint8Array): JsonValue[] {
  return asList(asObject(parseAnswer(bytes), "the answer")["results"], "results");
}

function readScoredLabel(value: JsonValue, what: string): ScoredLabel {
  const [label, score, ...rest] = asList(value, what);
  if (label === undefined || score === undefined || rest.length > 0) {
    throw new Error(`expected ${what} to be a label and a score, got a list of ${asList(value, what).length}`);
  }
  return { label: readText(label, `the label of ${what}`), score: readFloat(score, `the score of ${what}`) };
}

const lenientUtf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** Bytes that are no UTF-8 become replacement characters: one odd label must not cost the caller all results. */
function readText(value: JsonValue, what: string): string {
  if (value instanceof Uint8Array) return lenientUtf8.decode(value);
  if (typeof value !== "string") throw new Error(`expected ${what} to be text, got ${jsonTypeName(value)}`);
  return value;
}

/** Scores and values are float32 on the server, printed with up to 9 digits: rounding gives exactly what gRPC carries. */
function readFloat(value: JsonValue, what: string): number {
  if (typeof value !== "number" && typeof value !== "bigint")
    throw new Error(`expected ${what} to be a number, got ${jsonTypeName(value)}`);
  return Math.fround(Number(value));
}

function asList(value: JsonValue | undefined, what: string): JsonValue[] {
  if (!Array.isArray(value)) throw new Error(`expected ${what} to be a list, got ${value === undefined ? "nothing" : jsonTypeName(value)}`);
  return value;
}
