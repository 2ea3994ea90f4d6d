/** Inputs and outputs of the recorded SavedModels: what TensorFlow itself computed. */
import { readdirSync, readFileSync } from "node:fs";
import type { StatusCode } from "../../src/errors.js";
import { type DType, dtypeFromUpstreamName, dtypes, isDType } from "../../src/tensor/dtype.js";
import { type AnyTensor, type TensorValues, tensor } from "../../src/tensor/tensor.js";
import type { JsonElement } from "../support/tensor-fixtures.js";

/** One run of one signature. */
export interface RecordedCase {
  /** `model/case`. */
  readonly id: string;
  readonly model: string;
  readonly version: bigint;
  readonly signatureName: string;
  readonly inputs: Readonly<Record<string, AnyTensor>>;
  readonly outputFilter: readonly string[];
  /** What came out, or why nothing did. */
  readonly expected: { readonly outputs: Readonly<Record<string, AnyTensor>> } | { readonly code: StatusCode; readonly message: string };
}

interface JsonTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly values?: readonly JsonElement[];
  /** Raw little-endian elements instead of values. */
  readonly file?: string;
}

interface JsonCase {
  readonly name: string;
  readonly version: string;
  readonly signature_name: string;
  readonly inputs: Readonly<Record<string, JsonTensor>>;
  readonly output_filter?: readonly string[];
  readonly outputs?: Readonly<Record<string, JsonTensor>>;
  readonly error?: { readonly code: StatusCode; readonly message: string };
}

const folder = new URL("../fixtures/saved_models/", import.meta.url);

/** Every case of every model. */
export function recordedCases(): RecordedCase[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort()
    .flatMap(casesOf);
}

function casesOf(model: string): RecordedCase[] {
  const text = readFileSync(new URL(`${model}/expected.json`, folder), "utf8");
  return (JSON.parse(text) as { cases: JsonCase[] }).cases.map((one) => ({
    id: `${model}/${one.name}`,
    model,
    version: BigInt(one.version),
    signatureName: one.signature_name,
    inputs: tensorsFrom(model, one.inputs),
    outputFilter: one.output_filter ?? [],
    expected: one.error === undefined ? { outputs: tensorsFrom(model, one.outputs ?? {}) } : withoutNodes(one.error),
  }));
}

/** Behind the first line break stand names of graph nodes, which differ from run to run. */
function withoutNodes({ code, message }: { code: StatusCode; message: string }) {
  return { code, message: message.split("\n", 1)[0] ?? "" };
}

function tensorsFrom(model: string, tensors: Readonly<Record<string, JsonTensor>>): Record<string, AnyTensor> {
  return Object.fromEntries(Object.entries(tensors).map(([name, json]) => [name, tensorFrom(model, json)]));
}

function tensorFrom(model: string, { dtype: upstream, shape, values, file }: JsonTensor): AnyTensor {
  const dtype = dtypeFromUpstreamName(upstream);
  if (dtype === undefined || !isDType(dtype)) throw new Error(`${model}: no dtype ${upstream}`);
  const flat = file === undefined ? valuesFrom(dtype, values ?? []) : bytesAs(dtype, readFileSync(new URL(`${model}/${file}`, folder)));
  return tensor(dtype, shape, flat as TensorValues<DType> as never) as AnyTensor;
}

function valuesFrom(dtype: DType, values: readonly JsonElement[]): unknown {
  const { kind, array } = dtypes[dtype];
  if (kind === "string") return (values as { b64: string }[]).map(({ b64 }) => new Uint8Array(Buffer.from(b64, "base64")));
  if (kind === "bigint") return values.map((value) => BigInt(value as string));
  if (kind === "bool") return values;
  const numbers = values.flat().map(Number);
  return kind === "complex" || kind === "quantized" ? (array as unknown as Float32ArrayConstructor).from(numbers) : numbers;
}

function bytesAs(dtype: DType, { buffer, byteOffset, byteLength }: Buffer): unknown {
  const { array } = dtypes[dtype];
  return new (array as unknown as Float32ArrayConstructor)(buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer);
}
