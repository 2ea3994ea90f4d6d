/**
 * Predict request JSON to tensors as the server does it: `json_tensor.cc` of TensorFlow Serving 2.20.0, its checks, order and texts.
 *
 * The client's own JSON conversion is not used: it refuses more, and in other words.
 */
import { isServingError } from "../errors.js";
import type { Signature } from "../signature.js";
import { type DType, dtypes, isDType, type UnsupportedDType } from "../tensor/dtype.js";
import type { JsonObject, JsonValue } from "../tensor/json-parser.js";
import { maxRank } from "../tensor/shape.js";
import { type AnyTensor, tensor } from "../tensor/tensor.js";
import { bytesFromObject, invalid, isBinary, isObject, type JsonBody, shown, typeName } from "./json-body.js";
import { tensorFlowDType } from "./predict-service.js";
import { refusal } from "./refusal.js";

/** Whether a request has its examples in rows (`instances`) or by input (`inputs`). */
export type RestFormat = "row" | "column";

/** The inputs of a Predict body and the format that the answer has to take. */
export function inputsFromJson(body: JsonBody, signature: Signature): { format: RestFormat; inputs: Record<string, AnyTensor> } {
  const { document, signatureName } = body;
  if (Object.keys(signature.inputs).length === 0) throw invalid(`Failed to get input map for signature: ${signatureName || "DEFAULT"}`);
  const { instances, inputs } = document;
  if (instances !== undefined && inputs !== undefined) {
    throw invalid(`JSON Value: ${shown(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist `);
  }
  if (instances !== undefined) return { format: "row", inputs: fromRows(document, instances, signature) };
  if (inputs !== undefined) return { format: "column", inputs: fromColumns(inputs, signature) };
  throw invalid("Missing 'inputs' or 'instances' key");
}

// Columns

function fromColumns(value: JsonValue, signature: Signature): Record<string, AnyTensor> {
  const specs = Object.entries(signature.inputs);
  const tensors: Record<string, AnyTensor> = Object.create(null);
  if (!isObject(value) || isBinary(value)) {
    const [only] = specs;
    if (only === undefined || specs.length > 1) {
      throw invalid("inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map");
    }
    tensors[only[0]] = tensorFromValue(only[0], only[1].dtype, value);
    return tensors;
  }
  for (const [name, spec] of specs) {
    const given = value[name];
    if (given === undefined) throw invalid(`Missing named input: ${name} in 'inputs' object.`);
    tensors[name] = tensorFromValue(name, spec.dtype, given);
  }
  return tensors;
}

// Rows

function fromRows(document: JsonObject, instances: JsonValue, signature: Signature): Record<string, AnyTensor> {
  if (!Array.isArray(instances)) throw invalid(`JSON Value: ${shown(document)} Expecting 'instances' to be an list/array`);
  const [first] = instances;
  if (first === undefined) throw invalid(`JSON Value: ${shown(document)} No values in 'instances' array`);
  const byName = isObject(first) && !isBinary(first);
  const names = Object.keys(signature.inputs);
  if (!byName && names.length > 1) {
    const text = "instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map";
    throw invalid(text);
  }
  const fillers = new Map(names.map((name) => [name, new RowFiller(signature.inputs[name]?.dtype ?? "invalid", instances.length)]));
  for (const [index, item] of instances.entries()) {
    if (byName) {
      if (!isObject(item)) throw invalid(`Expecting object but got list at item ${index} of input list`);
      addNamedRow(fillers, item, index);
    } else {
      if (isObject(item) && !isBinary(item)) throw invalid(`Expecting value/list but got object at item ${index} of input list`);
      inElement(index, "", () => fillers.get(names[0] as string)?.add(item));
    }
  }
  const tensors: Record<string, AnyTensor> = Object.create(null);
  for (const [name, filler] of fillers) tensors[name] = filler.tensor(name);
  return tensors;
}

function addNamedRow(fillers: ReadonlyMap<string, RowFiller>, item: JsonObject, index: number): void {
  let given = 0;
  for (const name in item) {
    inElement(index, `key: ${name} `, () => {
      const filler = fillers.get(name);
      if (filler === undefined) throw invalid(`JSON object: does not have named input: ${name}`);
      filler.add(item[name] as JsonValue);
    });
    given++;
  }
  if (given === fillers.size) return;
  const names = [...fillers.keys()].sort().join(",");
  throw invalid(`Failed to process element: ${index} of 'instances' list. JSON object: ${shown(item)} keys must be equal to: ${names}`);
}

/** Errors of one row say which; their own code only stays in the text. */
function inElement(index: number, key: string, add: () => void): void {
  try {
    add();
  } catch (error) {
    if (!isServingError(error)) throw error;
    throw invalid(`Failed to process element: ${index} ${key}of 'instances' list. Error: ${error.code}: ${error.message}`);
  }
}

/** Collects the rows of one input; all have the shape of the first. */
class RowFiller {
  readonly #dtype: DType | UnsupportedDType;
  readonly #rows: number;
  readonly #elements: Element[] = [];
  #shape: readonly number[] | undefined;

  constructor(dtype: DType | UnsupportedDType, rows: number) {
    this.#dtype = dtype;
    this.#rows = rows;
  }

  add(value: JsonValue): void {
    const shape = shapeOf(value);
    const before = this.#elements.length;
    if (shape.length <= maxRank) fill(this.#elements, value, { dtype: this.#dtype, shape }, 0);
    if (this.#shape === undefined) {
      this.#shape = shape;
      return;
    }
    const size = this.#elements.length - before;
    const expected = this.#shape.reduce((count, dim) => count * dim, 1);
    if (size !== expected) throw invalid(`Expecting tensor size: ${expected} but got: ${size}`);
    if (shape.join() !== this.#shape.join() || shape.length !== this.#shape.length) {
      throw invalid(`Expecting shape [${this.#shape.join()}] but got: [${shape.join()}]`);
    }
  }

  tensor(name: string): AnyTensor {
    return makeTensor(name, this.#dtype, [this.#rows, ...(this.#shape ?? [])], this.#elements);
  }
}

// Values

type Element = number | bigint | Uint8Array;

interface Target {
  readonly dtype: DType | UnsupportedDType;
  readonly shape: readonly number[];
}

function tensorFromValue(name: string, dtype: DType | UnsupportedDType, value: JsonValue): AnyTensor {
  const shape = shapeOf(value);
  const elements: Element[] = [];
  if (shape.length <= maxRank) fill(elements, value, { dtype, shape }, 0);
  return makeTensor(name, dtype, shape, elements);
}

function makeTensor(name: string, dtype: DType | UnsupportedDType, shape: readonly number[], elements: readonly Element[]): AnyTensor {
  // What TensorFlow says of a rank above 254; deeper values are not even looked at.
  if (shape.length > maxRank || !isDType(dtype)) throw invalid(`tensor parsing error: ${name}`);
  if (dtype === "string") return tensor("string", shape, elements as Uint8Array[]);
  const parts = dtypes[dtype].kind === "complex" ? 2 : 1;
  const values = new dtypes[dtype].array(elements.length * parts);
  // Typed arrays wrap and narrow as the server's C++ does: 300 into int8 becomes 44.
  for (let i = 0; i < elements.length; i++) values[i] = elements[i] as never;
  return tensor(dtype, shape, values as never) as AnyTensor;
}

/** Sizes along the first elements; an empty list ends it. */
function shapeOf(value: JsonValue): number[] {
  const shape: number[] = [];
  for (let node: JsonValue | undefined = value; Array.isArray(node) && shape.length <= maxRank; node = node[0]) shape.push(node.length);
  return shape;
}

/** Recursion ends at the rank of the first element, at most 254. */
function fill(elements: Element[], value: JsonValue, target: Target, level: number): void {
  const { dtype, shape } = target;
  if (!Array.isArray(value)) {
    if (level !== shape.length) {
      throw invalid(
        `JSON Value: ${shown(value)} found at incorrect level: ${level + 1} in the JSON DOM. Expected at level: ${shape.length}`,
      );
    }
    elements.push(elementOf(value, dtype));
    return;
  }
  if (level >= shape.length) throw invalid(`Encountered list at unexpected level: ${level} expected < ${shape.length}`);
  if (value.length !== shape[level]) {
    throw invalid(`Encountered list at unexpected size: ${value.length} at level: ${level} expected size: ${shape[level]}`);
  }
  for (const item of value) fill(elements, item, target, level + 1);
}

function elementOf(value: JsonValue, dtype: DType | UnsupportedDType): Element {
  const element = readers[dtype];
  if (element === undefined) {
    throw refusal("UNIMPLEMENTED", `Conversion of JSON Value: ${shown(value)} to type: ${tensorFlowDType(dtype)}`);
  }
  const read = element(value);
  if (read === undefined) {
    throw invalid(`JSON Value: ${shown(value)} Type: ${typeName(value)} is not of expected type: ${tensorFlowDType(dtype)}`);
  }
  return read;
}

type Reader = (value: JsonValue) => Element | undefined;

const readFloat: Reader = (value) => (typeof value === "number" || typeof value === "bigint" ? Number(value) : undefined);

/** Whole numbers of a range, as the number or the bigint that the array of the dtype takes. */
function integerReader(min: bigint, max: bigint, wide = false): Reader {
  return (value) => {
    if (typeof value !== "bigint" || value < min || value > max) return undefined;
    return wide ? value : Number(value);
  };
}

/** int8, int16 and uint8 are read as int32 and wrap, as in the real server. */
const readInt32 = integerReader(-(2n ** 31n), 2n ** 31n - 1n);

const readers: Partial<Record<string, Reader>> = {
  float32: readFloat,
  float64: readFloat,
  int8: readInt32,
  int16: readInt32,
  int32: readInt32,
  uint8: readInt32,
  uint32: integerReader(0n, 2n ** 32n - 1n),
  int64: integerReader(-(2n ** 63n), 2n ** 63n - 1n, true),
  uint64: integerReader(0n, 2n ** 64n - 1n, true),
  bool: (value) => (typeof value === "boolean" ? Number(value) : undefined),
  string: (value) => {
    if (typeof value === "string") return Buffer.from(value);
    if (value instanceof Uint8Array) return value;
    return isObject(value) ? bytesFromObject(value) : undefined;
  },
};
