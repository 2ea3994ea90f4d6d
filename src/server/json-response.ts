/** Bodies of REST answers as TensorFlow Serving 2.20.0 prints them (`json_tensor.cc`). */
import type { AnyTensor } from "../tensor/tensor.js";
import type { ScoredLabel } from "../transport/transport.js";
import { formatFloat } from "./format-float.js";
import type { RestFormat } from "./json-request.js";
import { tensorFlowDType } from "./predict-service.js";
import { type BinaryString, binary, PrettyWriter } from "./pretty-json.js";
import { refusal } from "./refusal.js";

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

/** The body of a Classify answer: `[label, score]` pairs for each example. */
export function classifyJson(results: readonly (readonly ScoredLabel[])[]): BinaryString {
  const writer = new PrettyWriter();
  writer.startObject();
  writer.string("results");
  writer.startArray();
  writer.singleLineArrays = true;
  for (const classes of results) {
    writer.startArray();
    for (const { label, score } of classes) {
      writer.startArray();
      writer.string(binary(label));
      writer.raw(withPoint(formatFloat(score, 9)));
      writer.endArray();
    }
    writer.endArray();
  }
  writer.singleLineArrays = false;
  writer.endArray();
  writer.endObject();
  return writer.toString();
}

/** The body of a Regress answer: a value for each example. */
export function regressJson(results: readonly number[]): BinaryString {
  const writer = new PrettyWriter();
  writer.startObject();
  writer.string("results");
  writer.singleLineArrays = true;
  writer.startArray();
  for (const value of results) writer.raw(withPoint(formatFloat(value, 9)));
  writer.endArray();
  writer.endObject();
  return writer.toString();
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

function withPoint(text: string): string {
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}
