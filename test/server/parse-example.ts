/** What `tf.io.parse_example` makes of serialized examples, refusals included: part of the graphs that JavaScript stands for. */
import { ServingError } from "../../src/errors.js";
import { decodeExample, type Example } from "../../src/example-codec.js";
import type { AnyTensor } from "../../src/tensor/tensor.js";

const dtypeNames = { float: "float", int64: "int64", bytes: "string", none: "invalid" } as const;

/** A feature of fixed length; one with a default has one value. */
interface FeatureSpec {
  readonly name: string;
  readonly kind: "float" | "int64" | "bytes";
  readonly size: number;
  readonly default?: number | bigint | Uint8Array;
}

/** The values of one feature in each example of a string tensor. */
export function parseFeature(serialized: AnyTensor | undefined, spec: FeatureSpec): readonly (readonly (number | bigint | Uint8Array)[])[] {
  if (serialized === undefined) throw new Error("there is no graph for this signature here");
  return serialized.as("string").values.map((bytes, index) => {
    const feature = decoded(bytes, index)[spec.name];
    if (feature === undefined || feature.kind === "none" || (feature.kind === spec.kind && feature.values.length === 0)) {
      if (spec.default !== undefined) return [spec.default];
      const text = `Feature: ${spec.name} (data type: ${dtypeNames[spec.kind]}) is required but could not be found.`;
      throw refused(text);
    }
    const where = `Key: ${spec.name}, Index: ${index}.  `;
    if (feature.kind !== spec.kind) {
      const types = `Data type: ${dtypeNames[feature.kind]} but expected type: ${dtypeNames[spec.kind]}`;
      throw refused(`${where}Data types don't match. ${types}`);
    }
    if (feature.values.length !== spec.size) {
      const count = `Values size: ${feature.values.length} but output shape: [${spec.size}]`;
      throw refused(`${where}Number of ${dtypeNames[spec.kind]} values != expected.  ${count}`);
    }
    return feature.values;
  });
}

function decoded(bytes: Uint8Array, index: number): Example {
  try {
    return decodeExample(bytes, `examples[${index}]`);
  } catch {
    // TensorFlow's parser takes features that end too early for no features.
    if (bytes[0] === 0x0a) return {};
    throw new ServingError(`Could not parse example input, value: '${Buffer.from(bytes)}'`, { code: "INVALID_ARGUMENT" });
  }
}

function refused(text: string): ServingError {
  return new ServingError(`Name: <unknown>, ${text}`, { code: "INVALID_ARGUMENT" });
}
