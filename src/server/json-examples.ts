/** Classify and Regress request JSON to examples as the server does it: `json_tensor.cc` of TensorFlow Serving 2.20.0. */
import type { Example, Feature } from "../example-codec.js";
import type { JsonValue } from "../tensor/json-parser.js";
import { bytesFromObject, invalid, isBinary, isObject, type JsonBody, shown, typeName } from "./json-body.js";

const maxInt64 = 2n ** 63n - 1n;

/** The examples of a Classify or Regress body, and the context they share. */
export function examplesFromJson({ document }: JsonBody): { examples: Example[]; context?: Example } {
  const { context, examples } = document;
  const shared = context === undefined ? {} : { context: exampleFromJson(context) };
  // The text says classify for both methods.
  if (examples === undefined)
    throw invalid(`JSON Value: ${shown(document)} When method is classify, key 'examples' is expected and was not found`);
  if (!Array.isArray(examples)) throw invalid(`JSON Value: ${shown(document)} Expecting 'examples' value to be an list/array`);
  if (examples.length === 0) throw invalid(`JSON Value: ${shown(document)} 'examples' value is an empty array`);
  return { ...shared, examples: examples.map(exampleFromJson) };
}

function exampleFromJson(value: JsonValue): Example {
  if (!isObject(value)) throw invalid(`Example must be JSON object but got JSON ${typeName(value)}`);
  const example: Record<string, Feature> = Object.create(null);
  for (const name in value) {
    const given = value[name] as JsonValue;
    example[name] = featureFromJson(name, Array.isArray(given) ? given : [given]);
  }
  return example;
}

/** The first element says which kind the feature is. */
function featureFromJson(name: string, given: readonly JsonValue[]): Feature {
  let kind = "none";
  const values = given.map((element) => {
    const read = elementFromJson(name, element);
    if (kind === "none") kind = read.kind;
    if (read.kind !== kind) throw invalid(`Unexpected element type in feature: ${name} expecting type: ${kind}`);
    return read.value;
  });
  // All values are of the kind.
  return { kind, values } as unknown as Feature;
}

type Element =
  | { readonly kind: "int64"; readonly value: bigint }
  | { readonly kind: "float"; readonly value: number }
  | { readonly kind: "bytes"; readonly value: Uint8Array };

function elementFromJson(name: string, value: JsonValue): Element {
  if (typeof value === "bigint") {
    if (value > maxInt64) throw invalid(`Feature: ${name} has uint64_t element. Only int64_t is supported.`);
    return { kind: "int64", value };
  }
  if (typeof value === "boolean") return { kind: "int64", value: value ? 1n : 0n };
  if (typeof value === "number") return { kind: "float", value: Math.fround(value) };
  if (typeof value === "string") return { kind: "bytes", value: Buffer.from(value) };
  if (value instanceof Uint8Array) return { kind: "bytes", value };
  if (isObject(value) && isBinary(value)) return { kind: "bytes", value: bytesFromObject(value) };
  throw invalid(`Feature: ${name} has element with unexpected JSON type: ${typeName(value)}`);
}
