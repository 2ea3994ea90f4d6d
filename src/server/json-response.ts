/** Bodies of REST answers as TensorFlow Serving 2.20.0 prints them (`json_tensor.cc`, `http_rest_api_util.cc`, protobuf JSON). */
import type { Signature, TensorSpec } from "../signature.js";
import { dtypeToUpstreamName } from "../tensor/dtype.js";
import type { AnyTensor } from "../tensor/tensor.js";
import type { ModelMetadata, ModelVersionStatus } from "../transport/transport.js";
import type { RestFormat } from "./json-request.js";
import { refusal } from "./model-manager.js";
import { tensorFlowDType } from "./predict-service.js";
import { type BinaryString, binary, PrettyWriter, quoted } from "./pretty-json.js";

/** The body of an error. */
export function errorJson(message: string): BinaryString {
  const writer = new PrettyWriter();
  writer.startObject();
  writer.string("error");
  writer.string(binary(message));
  writer.endObject();
  return writer.toString();
}

/**
 * The body of a Predict answer; with a single output its name does not appear.
 *
 * @throws ServingError INVALID_ARGUMENT if an output cannot be written in this format.
 */
export function predictJson(outputs: Readonly<Record<string, AnyTensor>>, format: RestFormat): BinaryString {
  const writer = new PrettyWriter();
  const named = Object.entries(outputs).map(([name, output]) => new OutputWriter(writer, name, output));
  writer.startObject();
  if (format === "row") writeRows(writer, named);
  else writeColumns(writer, named);
  writer.endObject();
  return writer.toString();
}

function writeColumns(writer: PrettyWriter, outputs: readonly OutputWriter[]): void {
  writer.string("outputs");
  const [only] = outputs;
  if (outputs.length === 1 && only !== undefined) {
    only.write();
    return;
  }
  writer.startObject();
  for (const output of outputs) {
    writer.string(binary(output.name));
    output.write();
  }
  writer.endObject();
}

function writeRows(writer: PrettyWriter, outputs: readonly OutputWriter[]): void {
  const [first] = outputs;
  const rows = first?.rows ?? 0;
  for (const { name, rows: count } of outputs) {
    if (count === undefined) throw refusal("INVALID_ARGUMENT", `Tensor name: ${name} has no shape information `);
    if (count !== rows) throw refusal("INVALID_ARGUMENT", `Tensor name: ${name} has inconsistent batch size: ${count} expecting: ${rows}`);
  }
  writer.string("predictions");
  writer.startArray();
  for (let row = 0; row < rows; row++) {
    if (outputs.length === 1) {
      writer.singleLineArrays = true;
      first?.writeRow(row);
      continue;
    }
    writer.startObject();
    for (const output of outputs) {
      writer.string(binary(output.name));
      writer.singleLineArrays = true;
      output.writeRow(row);
      writer.singleLineArrays = false;
    }
    writer.endObject();
  }
  writer.singleLineArrays = false;
  writer.endArray();
}

/** Writes one output, whole or by row. */
class OutputWriter {
  readonly name: string;
  /** Size of dimension 0; undefined for a scalar. */
  readonly rows: number | undefined;
  readonly #writer: PrettyWriter;
  readonly #shape: readonly number[];
  readonly #element: (index: number) => void;

  constructor(writer: PrettyWriter, name: string, output: AnyTensor) {
    this.name = name;
    this.rows = output.shape[0];
    this.#writer = writer;
    this.#shape = output.shape;
    this.#element = elementWriter(writer, name, output);
  }

  write(): void {
    this.#nest(0, 0);
  }

  writeRow(row: number): void {
    this.#nest(1, row * this.#shape.slice(1).reduce((size, dim) => size * dim, 1));
  }

  #nest(axis: number, start: number): number {
    const length = this.#shape[axis];
    if (length === undefined) {
      this.#element(start);
      return start + 1;
    }
    this.#writer.startArray();
    let at = start;
    for (let i = 0; i < length; i++) at = this.#nest(axis + 1, at);
    this.#writer.endArray();
    return at;
  }
}

function elementWriter(writer: PrettyWriter, name: string, output: AnyTensor): (index: number) => void {
  switch (output.dtype) {
    case "float32":
      return (index) => writer.raw(withPoint(formatFloat(output.values[index] as number, 9)));
    case "float64":
      return (index) => writer.raw(withPoint(formatFloat(output.values[index] as number, 17)));
    case "int8":
    case "int16":
    case "int32":
    case "int64":
    case "uint8":
    case "uint32":
    case "uint64":
      return (index) => writer.raw(String(output.values[index]));
    case "bool":
      return (index) => writer.raw(output.values[index] === 0 ? "false" : "true");
    case "string":
      return name.endsWith("_bytes")
        ? (index) => writeBase64(writer, output.values[index] as Uint8Array)
        : (index) => writer.string(Buffer.from(output.values[index] as Uint8Array).toString("latin1"));
    default:
      throw refusal("INVALID_ARGUMENT", `Failed to write JSON value for tensor type: ${tensorFlowDType(output.dtype)}`);
  }
}

function writeBase64(writer: PrettyWriter, bytes: Uint8Array): void {
  writer.startObject();
  writer.string("b64");
  writer.string(Buffer.from(bytes).toString("base64"));
  writer.endObject();
}

/**
 * A number in C's `%g`: 6 digits if they read back equal, else as many as the type needs.
 *
 * @param digits - 9 for float, 17 for double.
 */
export function formatFloat(value: number, digits: 9 | 17): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
  const short = formatG(value, 6);
  const back = digits === 9 ? Math.fround(Number(short)) : Number(short);
  return back === value ? short : formatG(value, digits);
}

function formatG(value: number, precision: number): string {
  if (value === 0) return Object.is(value, -0) ? "-0" : "0";
  const [mantissa = "", power = ""] = value.toExponential(precision - 1).split("e");
  const exponent = Number(power);
  if (exponent >= -4 && exponent < precision) return trimZeros(value.toFixed(precision - 1 - exponent));
  return `${trimZeros(mantissa)}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

function trimZeros(text: string): string {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

function withPoint(text: string): string {
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}

// Status and metadata: protobuf JSON

/** A message as protobuf prints it; names in the order of the fields. */
type ProtoJson = string | number | boolean | readonly ProtoJson[] | { readonly [name: string]: ProtoJson };

/** The body of a status answer. */
export function statusJson(statuses: readonly ModelVersionStatus[]): BinaryString {
  const entries = statuses.map(({ version, state, errorCode, errorMessage }) => ({
    version: String(version),
    state,
    status: { error_code: errorCode, error_message: errorMessage },
  }));
  return binary(`${protoJson({ model_version_status: entries })}\n`);
}

/** The body of a metadata answer; the doubled `signature_def` is real. */
export function metadataJson({ modelSpec, signatures }: ModelMetadata): BinaryString {
  const spec = protoJson({ name: modelSpec.name, version: String(modelSpec.version ?? ""), signature_name: "" });
  const definitions = Object.fromEntries(Object.entries(signatures).map(([name, signature]) => [name, signatureDef(signature)]));
  const map = protoJson({ signature_def: definitions });
  return binary(`{\n"model_spec":${spec}\n,\n"metadata": {"signature_def": ${map}\n}\n}\n`);
}

function signatureDef(signature: Signature): ProtoJson {
  const defaults = Object.entries(signature.inputs).flatMap(([name, { default: value }]) =>
    value === undefined ? [] : [[name, tensorProto(value)]],
  );
  return {
    inputs: tensorInfos(signature.inputs),
    outputs: tensorInfos(signature.outputs),
    method_name: signature.methodName,
    defaults: Object.fromEntries(defaults),
  };
}

function tensorInfos(specs: Readonly<Record<string, TensorSpec>>): ProtoJson {
  return Object.fromEntries(
    Object.entries(specs).map(([name, { dtype, shape }]) => [
      name,
      { name: `${name}:0`, dtype: dtypeToUpstreamName(dtype), tensor_shape: tensorShape(shape) },
    ]),
  );
}

function tensorShape(shape: readonly (number | null)[] | null): ProtoJson {
  return { dim: (shape ?? []).map((size) => ({ size: String(size ?? -1), name: "" })), unknown_rank: shape === null };
}

/** Every list is printed; the values stand in `tensor_content`, those of strings in `string_val`. */
function tensorProto(value: AnyTensor): ProtoJson {
  const strings = value.dtype === "string" ? value.values.map((bytes) => Buffer.from(bytes).toString("base64")) : [];
  const content = value.dtype === "string" ? "" : base64Of(value.values);
  return {
    dtype: dtypeToUpstreamName(value.dtype),
    tensor_shape: tensorShape(value.shape),
    version_number: 0,
    tensor_content: content,
    float_val: [],
    double_val: [],
    int_val: [],
    string_val: strings,
    scomplex_val: [],
    int64_val: [],
    bool_val: [],
    dcomplex_val: [],
    half_val: [],
    resource_handle_val: [],
    variant_val: [],
    uint32_val: [],
    uint64_val: [],
    float8_val: "",
  };
}

function base64Of(values: ArrayBufferView): string {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("base64");
}

function protoJson(value: ProtoJson, indent = ""): string {
  const inner = `${indent} `;
  if (Array.isArray(value)) {
    return value.length === 0 ? "[]" : `[\n${value.map((item: ProtoJson) => inner + protoJson(item, inner)).join(",\n")}\n${indent}]`;
  }
  if (typeof value === "object") {
    const fields = Object.entries(value).map(([name, field]) => `${inner}${quoted(name)}: ${protoJson(field, inner)}`);
    return fields.length === 0 ? "{}" : `{\n${fields.join(",\n")}\n${indent}}`;
  }
  return typeof value === "string" ? quoted(value).replace(/[<>]/g, (char) => (char === "<" ? "\\u003c" : "\\u003e")) : String(value);
}
