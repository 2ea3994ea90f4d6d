/** Features as the index files of the test data hold them. */
import type { Example, Feature } from "../../src/example-codec.js";

/** The features of one example. */
export type RecordedFeatures = Readonly<
  Record<string, { readonly kind: "float_list" | "int64_list" | "bytes_list" | null; readonly values: readonly unknown[] }>
>;

/** The same features in our words. */
export function recordedExample(features: RecordedFeatures): Example {
  const example: Record<string, Feature> = Object.create(null);
  for (const [name, { kind, values }] of Object.entries(features)) {
    if (kind === "float_list") example[name] = { kind: "float", values: values.map(Number) };
    else if (kind === "int64_list") example[name] = { kind: "int64", values: values.map((value) => BigInt(value as string)) };
    else if (kind === "bytes_list")
      example[name] = { kind: "bytes", values: (values as { b64: string }[]).map(({ b64 }) => bytesFrom(b64)) };
    else example[name] = { kind: "none", values: [] };
  }
  return example;
}

function bytesFrom(base64: string): Uint8Array {
  return new Uint8Array(Buffer.from(base64, "base64"));
}
