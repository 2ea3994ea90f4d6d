/**
 * The JSON of TensorFlow Serving's REST API -> tensors; `json-print.ts` is the way back.
 *
 * The dtype always comes from a signature, never from the JSON. Error texts are the real server's, because the embedded server shares them.
 */
import { TensorError } from "../errors.js";
import { type DType, dtypes, type UnsupportedDType } from "./dtype.js";
import { readNumericList } from "./json-numbers.js";
import { JsonParser, type JsonParserOptions, type JsonValue, type ReadList } from "./json-parser.js";
import { maxRank } from "./shape.js";
import { type AnyTensor, tensor } from "./tensor.js";

/**
 * Parse JSON as TensorFlow Serving does; see {@link JsonValue} for what comes out.
 *
 * Bytes behind the first value are ignored.
 *
 * @throws FormatError with RapidJSON's text and the offset.
 */
export function parseJson(bytes: Uint8Array, options?: JsonParserOptions): JsonValue {
  return new JsonParser(bytes, options).parse();
}

/** JSON with tensors in it, as {@link parseTensorJson} gives it. */
export interface TensorJson {
  readonly value: JsonValue;
  /** Tensors by the lists in `value` that stand for them. */
  readonly tensors: ReadonlyMap<JsonValue, AnyTensor>;
}

/**
 * Parse JSON in which some lists are known to be tensors, which are read straight into typed arrays.
 *
 * A list that does not make a tensor of its dtype stays a plain list, for {@link tensorFromJson} to say what is wrong with it.
 *
 * @param dtypeAt - The dtype of a member of an object, by its name and the number of lists and objects around it.
 * @throws FormatError as {@link parseJson} does.
 */
export function parseTensorJson(
  bytes: Uint8Array,
  dtypeAt: (key: string, depth: number) => DType | undefined,
  options?: JsonParserOptions,
): TensorJson {
  const tensors = new Map<JsonValue, AnyTensor>();
  const readList = (key: string, depth: number, at: number): ReadList | undefined => {
    const dtype = dtypeAt(key, depth);
    const read = dtype !== undefined && isJsonDType(dtype) ? readNumericList(bytes, at, dtype) : undefined;
    if (read === undefined) return undefined;
    const value: JsonValue[] = [];
    tensors.set(value, read.tensor);
    return { value, end: read.end };
  };
  return { value: new JsonParser(bytes, { ...options, readList }).parse(), tensors };
}

const jsonDTypes: ReadonlySet<string> = new Set<DType>([
  "float32",
  "float64",
  "int8",
  "int16",
  "int32",
  "int64",
  "uint8",
  "uint32",
  "uint64",
  "bool",
  "string",
]);

/** Whether the REST API can carry tensors of this dtype; all others need gRPC. */
export function isJsonDType(dtype: DType | UnsupportedDType): boolean {
  return jsonDTypes.has(dtype);
}

/**
 * A tensor from a JSON value in columnar form; the shape is that of the nesting.
 *
 * @param what - Stands in front of error messages; empty: the bare text, which is the server's.
 * @throws TensorError if lists are ragged, an element does not fit the dtype, or JSON cannot carry the dtype.
 */
export function tensorFromJson(value: JsonValue, dtype: DType, what: string): AnyTensor {
  const prefix = what === "" ? "" : `${what}: `;
  if (!isJsonDType(dtype)) {
    throw new TensorError(`${prefix}Conversion of JSON Value: ${excerpt(firstElement(value))} to type: ${shortName(dtype)}`);
  }
  const shape = shapeOf(value, prefix);
  const elements = elementsOf(value, dtype, shape, prefix);
  const values = dtype === "string" ? elements : new dtypes[dtype].array(elements as never);
  return tensor(dtype, shape, values as never) as AnyTensor;
}

/** Sizes down the first element of each level; {@link elementsOf} checks the others. */
function shapeOf(value: JsonValue, prefix: string): number[] {
  const shape: number[] = [];
  let inner: JsonValue | undefined = value;
  while (Array.isArray(inner)) {
    if (shape.length === maxRank)
      throw new TensorError(`${prefix}lists stand in each other deeper than ${maxRank}, the largest rank of a tensor`);
    shape.push(inner.length);
    inner = inner[0];
  }
  return shape;
}

function firstElement(value: JsonValue): JsonValue {
  let inner = value;
  while (Array.isArray(inner) && inner.length > 0) inner = inner[0] as JsonValue;
  return inner;
}

/** What an element conversion answers for JSON that does not fit the dtype. */
const unfit = Symbol("unfit");

/** How an element of a dtype is converted. */
function conversionTo(dtype: DType): (element: JsonValue) => Uint8Array | number | bigint | typeof unfit {
  const { kind } = dtypes[dtype];
  if (kind === "string") return bytesFromJson;
  if (kind === "bool") return bitFromJson;
  if (kind === "float") return numberFromJson;
  return kind === "bigint" ? bigintFromJson(dtype) : integerFromJson(dtype);
}

/**
 * The elements of nested lists in row-major order.
 *
 * They are collected one by one: of lists that turn out to be ragged, the sizes could claim any amount of memory.
 *
 * @throws TensorError if the lists have other sizes than the shape, or an element does not fit the dtype.
 */
function elementsOf(value: JsonValue, dtype: DType, shape: readonly number[], prefix: string): (Uint8Array | number | bigint)[] {
  const elements: (Uint8Array | number | bigint)[] = [];
  const convert = conversionTo(dtype);
  const fail: (text: string) => never = (text) => {
    throw new TensorError(`${prefix}${text}`);
  };
  const visit = (item: JsonValue, level: number): void => {
    if (Array.isArray(item)) {
      if (level >= shape.length) fail(`Encountered list at unexpected level: ${level} expected < ${shape.length}`);
      if (item.length !== shape[level])
        fail(`Encountered list at unexpected size: ${item.length} at level: ${level} expected size: ${shape[level]}`);
      for (const inner of item) visit(inner, level + 1);
      return;
    }
    if (level !== shape.length)
      fail(`JSON Value: ${excerpt(item)} found at incorrect level: ${level + 1} in the JSON DOM. Expected at level: ${shape.length}`);
    const element = convert(item);
    if (element === unfit) fail(unfitText(item, dtype));
    elements.push(element);
  };
  visit(value, 0);
  return elements;
}

function numberFromJson(value: JsonValue): number | typeof unfit {
  return typeof value === "number" || typeof value === "bigint" ? Number(value) : unfit;
}

function bitFromJson(value: JsonValue): number | typeof unfit {
  return typeof value === "boolean" ? Number(value) : unfit;
}

/** Whole numbers in the range of the dtype; the real server wraps int8, int16 and uint8 around instead, which no caller can want. */
function integerFromJson(dtype: DType): (value: JsonValue) => number | typeof unfit {
  const row = dtypes[dtype];
  const [min, max] = "min" in row ? [row.min, row.max] : [0, 0];
  return (value) => (typeof value === "bigint" && value >= min && value <= max ? Number(value) : unfit);
}

function bigintFromJson(dtype: DType): (value: JsonValue) => bigint | typeof unfit {
  const [min, max] = dtype === "int64" ? [-(2n ** 63n), 2n ** 63n - 1n] : [0n, 2n ** 64n - 1n];
  return (value) => (typeof value === "bigint" && value >= min && value <= max ? value : unfit);
}

function bytesFromJson(value: JsonValue): Uint8Array | typeof unfit {
  if (typeof value === "string") return utf8.encode(value);
  if (value instanceof Uint8Array) return value;
  if (!isBase64Object(value)) return unfit;
  return typeof value.b64 === "string" ? (bytesFromBase64(value.b64) ?? unfit) : unfit;
}

const utf8 = new TextEncoder();

/** Whether a JSON value is an object whose only key is `b64`: one binary string, whatever the name suggests. */
export function isBase64Object(value: JsonValue): value is { b64: JsonValue } {
  if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Uint8Array) return false;
  const keys = Object.keys(value);
  return keys.length === 1 && keys[0] === "b64";
}

/** Standard alphabet, padding optional, blanks skipped, as the server decodes it; undefined for anything else. */
function bytesFromBase64(text: string): Uint8Array | undefined {
  const compact = text.replace(/[\t\n\v\f\r ]/g, "");
  const [, data = "", padding = ""] = /^([A-Za-z0-9+/]*)(={0,2})$/.exec(compact) ?? [compact, undefined];
  if (data === "" && compact !== "") return undefined;
  const rest = data.length % 4;
  if (rest === 1 || (padding !== "" && rest + padding.length !== 4)) return undefined;
  return Uint8Array.from(Buffer.from(data, "base64"));
}

function unfitText(value: JsonValue, dtype: DType): string {
  if (dtype === "string" && typeof value === "object" && value !== null) {
    if (isBase64Object(value) && typeof value.b64 === "string") return "Unable to base64 decode";
    return `JSON Value: ${excerpt(value)} not formatted correctly for base64 data`;
  }
  return `JSON Value: ${excerpt(value)} Type: ${jsonTypeName(value)} is not of expected type: ${shortName(dtype)}`;
}

/** RapidJSON's word for the type of a value. */
export function jsonTypeName(value: JsonValue): "Null" | "False" | "True" | "Object" | "Array" | "String" | "Number" {
  if (value === null) return "Null";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "string" || value instanceof Uint8Array) return "String";
  if (typeof value === "object") return Array.isArray(value) ? "Array" : "Object";
  return "Number";
}

/** TensorFlow's short names where they differ from ours. */
const shortNames: Readonly<Record<string, string>> = { float32: "float", float64: "double", float16: "half" };

function shortName(dtype: DType): string {
  return shortNames[dtype] ?? dtype;
}

/** How much of a value an error repeats. */
const excerptChars = 256;

/** Levels of nesting an excerpt shows. */
const excerptDepth = 8;

/** A value as the server prints it in errors; long and deep ones are cut, so that it costs little whatever came. */
function excerpt(value: JsonValue): string {
  // Copied by way of bytes: a slice alone would keep all of the text alive.
  return Buffer.from(excerptOf(value, 0).slice(0, excerptChars)).toString();
}

function excerptOf(value: JsonValue, depth: number): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, excerptChars));
  if (value instanceof Uint8Array) return JSON.stringify(Buffer.from(value.subarray(0, excerptChars)).toString("utf8"));
  if (typeof value === "number") return doubleText(value);
  if (typeof value !== "object" || value === null) return String(value);
  if (depth === excerptDepth) return "...";
  if (Array.isArray(value)) {
    const items = value.slice(0, excerptChars).map((item) => excerptOf(item, depth + 1));
    return `[${items.join(", ")}]`;
  }
  const indent = "    ".repeat(depth);
  const keys = Object.keys(value).slice(0, excerptChars);
  const members = keys.map(
    (key) => `${indent}    ${JSON.stringify(key.slice(0, excerptChars))}: ${excerptOf(value[key] as JsonValue, depth + 1)}`,
  );
  return members.length === 0 ? "{}" : `{\n${members.join(",\n")}\n${indent}}`;
}

/** As messages show a number; the sign of zero is kept. */
function doubleText(value: number): string {
  const text = Object.is(value, -0) ? "-0" : String(value);
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}
