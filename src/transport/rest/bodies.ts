/** Bodies of Predict over REST: tensors -> bytes of the request, bytes of the answer -> tensors. */
import { SignatureError } from "../../errors.js";
import type { Signature, TensorSpec } from "../../signature.js";
import { type DType, isDType } from "../../tensor/dtype.js";
import { isJsonDType, parseJson, parseTensorJson, tensorFromJson } from "../../tensor/json.js";
import type { JsonObject, JsonValue } from "../../tensor/json-parser.js";
import { expectedJsonBytes, JsonPrinter } from "../../tensor/json-print.js";
import { quotedName, quotedNames } from "../../tensor/names.js";
import { formatShape } from "../../tensor/shape.js";
import { type AnyTensor, tensor } from "../../tensor/tensor.js";
import type { TensorMap } from "../transport.js";

/** Layout of a body: one value per name, or one object per row. */
export type RestFormat = "column" | "row";

/** An answer nests as deep as a tensor can, plus the objects around it. */
const maxDepth = 300;

/** Room for what stands around the tensors: names and braces. */
const envelopeBytes = 1024;

/**
 * The inputs as REST needs them: all of the signature's, with its defaults filled in, since the server demands every input there.
 *
 * @param inputs - Names and dtypes are those of the signature.
 * @throws SignatureError that lists what REST cannot carry.
 */
export function completeInputs(signature: Signature, inputs: TensorMap, format: RestFormat, subject: string): TensorMap {
  const complete: Record<string, AnyTensor> = Object.create(null);
  const differences: string[] = [];
  for (const [name, value] of Object.entries(inputs)) {
    differences.push(...inputProblems(name, value));
    complete[name] = value;
  }
  for (const [name, spec] of Object.entries(signature.inputs)) {
    if (!Object.hasOwn(complete, name) && spec.default !== undefined) complete[name] = spec.default;
  }
  for (const [name, spec] of Object.entries(signature.outputs)) {
    // The server computes and prints every output, wanted or not, and fails the call at the first that JSON cannot carry.
    if (!isJsonDType(spec.dtype)) differences.push(`output ${quotedName(name)}: REST cannot carry ${spec.dtype}, use gRPC`);
  }
  if (format === "row") differences.push(...rowProblems(complete));
  if (differences.length > 0) throw new SignatureError(subject, differences);
  return complete;
}

function inputProblems(name: string, value: AnyTensor): string[] {
  const problems: string[] = [];
  if (!isJsonDType(value.dtype)) problems.push(`input ${quotedName(name)}: REST cannot carry ${value.dtype}, use gRPC`);
  const empty = value.shape.indexOf(0);
  if (empty >= 0 && empty < value.shape.length - 1) {
    problems.push(
      `input ${quotedName(name)}: JSON cannot tell shape ${formatShape(value.shape)} from ${formatShape(value.shape.slice(0, empty + 1))}, use gRPC`,
    );
  }
  return problems;
}

function rowProblems(inputs: TensorMap): string[] {
  const entries = Object.entries(inputs);
  const rows = entries[0]?.[1].shape[0];
  return entries.flatMap(([name, { shape }]) => {
    if (shape.length === 0) return [`input ${quotedName(name)}: expected rows, got a scalar (row format)`];
    if (shape[0] === 0) return [`input ${quotedName(name)}: expected at least one row, got shape ${formatShape(shape)} (row format)`];
    if (shape[0] !== rows) return [`input ${quotedName(name)}: expected ${rows} rows as in the first input, got ${shape[0]} (row format)`];
    return [];
  });
}

/** The bytes of a request. */
export function writePredictBody(signatureName: string | undefined, inputs: TensorMap, format: RestFormat): Uint8Array {
  const tensors = Object.values(inputs);
  const expectedBytes = tensors.reduce((sum, value) => sum + expectedJsonBytes(value), envelopeBytes);
  const printer = new JsonPrinter({ expectedBytes }).raw("{");
  if (signatureName !== undefined) printer.raw(`"signature_name":${JSON.stringify(signatureName)},`);
  if (format === "column") writeColumns(printer.raw('"inputs":'), inputs);
  else writeRows(printer.raw('"instances":'), inputs);
  return printer.raw("}").bytes();
}

function writeColumns(printer: JsonPrinter, inputs: TensorMap): void {
  const bare = withoutName(inputs);
  if (bare !== undefined) {
    printer.tensor(bare);
    return;
  }
  printer.raw("{");
  for (const { label, value } of labelled(inputs)) printer.raw(label).tensor(value);
  printer.raw("}");
}

function writeRows(printer: JsonPrinter, inputs: TensorMap): void {
  const bare = withoutName(inputs);
  const columns = labelled(inputs);
  const rows = columns[0]?.value.shape[0] ?? 0;
  printer.raw("[");
  for (let row = 0; row < rows; row++) {
    printer.raw(separator(row));
    if (bare !== undefined) {
      printer.row(bare, row);
      continue;
    }
    printer.raw("{");
    for (const { label, value } of columns) printer.raw(label).row(value, row);
    printer.raw("}");
  }
  printer.raw("]");
}

/** The tensor of an only input called `b64`: `{"b64": ...}` is one binary string to the server, but a single input needs no name. */
function withoutName(inputs: TensorMap): AnyTensor | undefined {
  const names = Object.keys(inputs);
  return names.length === 1 && names[0] === "b64" ? inputs["b64"] : undefined;
}

/** Each input with the text in front of it in an object. */
function labelled(inputs: TensorMap): { readonly label: string; readonly value: AnyTensor }[] {
  return Object.entries(inputs).map(([name, value], index) => ({ label: `${separator(index)}${JSON.stringify(name)}:`, value }));
}

function separator(index: number): string {
  return index === 0 ? "" : ",";
}

/** An answer as JSON without tensors in it. */
export function parseAnswer(bytes: Uint8Array): JsonValue {
  return parseJson(bytes, { maxDepth });
}

/**
 * The outputs in an answer, by the names and dtypes of the signature; a single output has no name on the wire.
 *
 * @throws TensorError if a value does not fit; Error if the answer has another form.
 */
export function readPredictBody(bytes: Uint8Array, signature: Signature, format: RestFormat): Record<string, AnyTensor> {
  const key = format === "column" ? "outputs" : "predictions";
  const specs = Object.entries(signature.outputs);
  const answer = parseTensorJson(bytes, dtypesByPlace(signature, key), { maxDepth });
  const object = asObject(answer.value, "the answer");
  const value = object[key];
  if (value === undefined) throw new Error(`expected "${key}" in the answer, got ${quotedNames(Object.keys(object))}`);
  const outputs: Record<string, AnyTensor> = Object.create(null);
  for (const [name, spec] of specs) {
    if (!isDType(spec.dtype)) throw new Error(`output ${quotedName(name)}: expected a dtype that tensors can have, got ${spec.dtype}`);
    const column = specs.length === 1 ? value : format === "column" ? member(asObject(value, key), name) : rowsOf(value, name);
    const parsed = answer.tensors.get(column) ?? tensorFromJson(column, spec.dtype, `output ${quotedName(name)}`);
    outputs[name] = withDimensions(parsed, spec);
  }
  return outputs;
}

/** Where whole tensors stand in an answer: at its key for a single output, else at their names in the object there. */
function dtypesByPlace({ outputs }: Signature, answerKey: string): (key: string, depth: number) => DType | undefined {
  const [only, ...others] = Object.values(outputs);
  return (key, depth) => {
    const atKey = depth === 1 && key === answerKey ? only : undefined;
    const atName = depth === 2 && Object.hasOwn(outputs, key) ? outputs[key] : undefined;
    const dtype = (others.length === 0 ? atKey : atName)?.dtype;
    return isDType(dtype) ? dtype : undefined;
  };
}

function rowsOf(value: JsonValue, name: string): JsonValue[] {
  if (!Array.isArray(value)) throw new Error('expected "predictions" to be a list');
  return value.map((row, index) => member(asObject(row, `predictions[${index}]`), name));
}

function member(object: JsonObject, name: string): JsonValue {
  const value = object[name];
  if (value === undefined) throw new Error(`expected output ${quotedName(name)} in the answer, got ${quotedNames(Object.keys(object))}`);
  return value;
}

/** An empty list ends the nesting early; the dimensions behind it are those of the signature. */
function withDimensions(parsed: AnyTensor, spec: TensorSpec): AnyTensor {
  if (parsed.size > 0 || spec.shape === null || parsed.shape.length >= spec.shape.length) return parsed;
  const shape = [...parsed.shape, ...spec.shape.slice(parsed.shape.length).map((dim) => dim ?? 0)];
  return tensor(parsed.dtype, shape, parsed.values as never) as AnyTensor;
}

/** @throws Error that names `what` if a value is no object. */
export function asObject(value: JsonValue | undefined, what: string): JsonObject {
  if (typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)) return value;
  throw new Error(`expected ${what} to be a JSON object`);
}
