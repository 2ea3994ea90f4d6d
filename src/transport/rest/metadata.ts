/** Answers of GetModelMetadata and GetModelStatus over REST: protobuf JSON, with field names as in the .proto files. */
import { isServingError, type StatusCode, statusCodes, TensorError } from "../../errors.js";
import type { Signature, TensorSpec } from "../../signature.js";
import { type ExpansionBudget, expansionBudget } from "../../tensor/codec.js";
import { type DType, dtypeFromUpstreamName, dtypes, isDType } from "../../tensor/dtype.js";
import type { JsonObject, JsonValue } from "../../tensor/json-parser.js";
import { quotedName } from "../../tensor/names.js";
import { elementCount } from "../../tensor/shape.js";
import { type AnyTensor, tensor } from "../../tensor/tensor.js";
import type { ModelMetadata, ModelVersionState, ModelVersionStatus } from "../transport.js";
import { asObject, parseAnswer } from "./bodies.js";

/** @throws Error if the answer has another form. */
export function readMetadata(bytes: Uint8Array): ModelMetadata {
  const answer = asObject(parseAnswer(bytes), "the answer");
  const spec = asObject(answer["model_spec"], "model_spec");
  const metadata = asObject(answer["metadata"], "metadata");
  const definitions = asObject(asObject(metadata["signature_def"], "metadata.signature_def")["signature_def"], "the signature map");
  const signatures: Record<string, Signature> = Object.create(null);
  const budget = expansionBudget();
  for (const [name, value] of Object.entries(definitions)) {
    const signature = readSignature(asObject(value, `signature ${quotedName(name)}`), budget);
    // Nobody can call __saved_model_init_op, which has neither inputs nor a method.
    if (signature.methodName !== "" || Object.keys(signature.inputs).length > 0) signatures[name] = signature;
  }
  const version = spec["version"];
  return { modelSpec: { name: text(spec["name"]), ...(version == null ? {} : { version: integer(version) }) }, signatures };
}

function readSignature(definition: JsonObject, budget: ExpansionBudget): Signature {
  const defaults = optionalObject(definition["defaults"]);
  const inputs = readSpecs(optionalObject(definition["inputs"]));
  for (const [name, spec] of Object.entries(inputs)) {
    const value = defaults[name];
    const read = value === undefined ? undefined : readDefault(asObject(value, `default of ${quotedName(name)}`), budget);
    if (read !== undefined) inputs[name] = { ...spec, default: read };
  }
  return { methodName: text(definition["method_name"]), inputs, outputs: readSpecs(optionalObject(definition["outputs"])) };
}

function readSpecs(infos: JsonObject): Record<string, TensorSpec> {
  const specs: Record<string, TensorSpec> = Object.create(null);
  for (const [name, value] of Object.entries(infos)) {
    const info = asObject(value, quotedName(name));
    const shape = optionalObject(info["tensor_shape"]);
    const dims = readDims(shape).map((dim) => (dim < 0 ? null : dim));
    specs[name] = { dtype: readDType(info["dtype"]), shape: shape["unknown_rank"] === true ? null : dims };
  }
  return specs;
}

/** Protobuf JSON prints enum values it has no name for as numbers. */
function readDType(value: JsonValue | undefined): TensorSpec["dtype"] {
  if (typeof value === "bigint") return `dtype_${Number(value)}`;
  return dtypeFromUpstreamName(text(value)) ?? "invalid";
}

function readDims(shape: JsonObject): number[] {
  const dims = shape["dim"];
  return Array.isArray(dims) ? dims.map((dim) => Number(integer(asObject(dim, "a dimension")["size"]))) : [];
}

/** What one more string takes that is another's. */
const referenceBytes = 8;

/** The typed list of each dtype; those not named here are in `int_val`. */
const lists: Partial<Record<DType, string>> = {
  float32: "float_val",
  float64: "double_val",
  float16: "half_val",
  bfloat16: "half_val",
  int64: "int64_val",
  uint64: "uint64_val",
  uint32: "uint32_val",
  bool: "bool_val",
  string: "string_val",
};

/** A default as a whole TensorProto; `undefined` where it is no tensor, or none that REST could send: it must not hide the other metadata. */
function readDefault(proto: JsonObject, budget: ExpansionBudget): AnyTensor | undefined {
  const dtype = readDType(proto["dtype"]);
  if (!isDType(dtype) || ["complex", "quantized", "float8"].includes(dtypes[dtype].kind)) return undefined;
  try {
    const shape = readDims(optionalObject(proto["tensor_shape"]));
    const content = proto["tensor_content"];
    const isContent = typeof content === "string" && content !== "" && dtype !== "string";
    return isContent ? defaultFromContent(content, dtype, shape) : defaultFromList(proto[lists[dtype] ?? "int_val"], dtype, shape, budget);
  } catch (error) {
    if (isServingError(error, "TensorError")) return undefined;
    throw error;
  }
}

function defaultFromContent(content: string, dtype: Exclude<DType, "string">, shape: readonly number[]): AnyTensor | undefined {
  const bytes = Uint8Array.from(Buffer.from(content, "base64"));
  const { array, bytes: width } = dtypes[dtype];
  return bytes.length % width === 0 ? (tensor(dtype, shape, new array(bytes.buffer) as never) as AnyTensor) : undefined;
}

/** A short list is filled with its last value, an empty one with zeros, as far as the budget goes. */
function defaultFromList(
  list: JsonValue | undefined,
  dtype: DType,
  shape: readonly number[],
  budget: ExpansionBudget,
): AnyTensor | undefined {
  const count = elementCount(shape);
  const values = (Array.isArray(list) ? list.slice(0, count) : []).map((value) => element(value, dtype));
  const missing = count - values.length;
  const growth = missing * (dtypes[dtype].bytes || referenceBytes);
  if (growth > budget.left) return undefined;
  budget.left -= growth;
  const filler = values.at(-1) ?? element(dtype === "string" ? "" : dtype === "bool" ? false : 0n, dtype);
  for (let i = 0; i < missing; i++) values.push(filler);
  const flat = dtypes[dtype].array === Uint16Array ? Uint16Array.from(values as number[]) : values;
  return tensor(dtype, shape, flat as never) as AnyTensor;
}

/** One element as protobuf JSON writes it: 64-bit integers and non-finite floats as text, bytes as base64. */
function element(value: JsonValue, dtype: DType): number | bigint | boolean | Uint8Array {
  const { kind } = dtypes[dtype];
  if (kind === "string") return Uint8Array.from(Buffer.from(text(value), "base64"));
  if (kind === "bool") return value === true;
  if (kind === "bigint") return integer(value);
  if (typeof value === "number" || typeof value === "bigint" || nonFinite.has(value)) return Number(value);
  throw new TensorError(`expected a number, got ${typeof value}`);
}

/** Floats that JSON has no form for. */
const nonFinite: ReadonlySet<unknown> = new Set(["NaN", "Infinity", "-Infinity"]);

const states: ReadonlySet<string> = new Set<ModelVersionState>(["UNKNOWN", "START", "LOADING", "AVAILABLE", "UNLOADING", "END"]);

/** @throws Error if the answer has another form. */
export function readStatuses(bytes: Uint8Array): ModelVersionStatus[] {
  const statuses = asObject(parseAnswer(bytes), "the answer")["model_version_status"];
  if (!Array.isArray(statuses)) throw new Error("expected model_version_status to be a list");
  return statuses.map((value) => {
    const entry = asObject(value, "a version status");
    const status = optionalObject(entry["status"]);
    const state = text(entry["state"]);
    const code = text(status["error_code"]);
    return {
      version: integer(entry["version"]),
      state: states.has(state) ? (state as ModelVersionState) : "UNKNOWN",
      errorCode: (statusCodes as readonly string[]).includes(code) ? (code as StatusCode) : "UNKNOWN",
      errorMessage: text(status["error_message"]),
    };
  });
}

function optionalObject(value: JsonValue | undefined): JsonObject {
  return value == null ? {} : asObject(value, "a field");
}

/** Text; bytes that are no UTF-8 become replacement characters, so that one bad message does not hide the rest. */
function text(value: JsonValue | undefined): string {
  if (value instanceof Uint8Array) return new TextDecoder().decode(value);
  if (value === undefined || typeof value === "string") return value ?? "";
  throw new Error(`expected text, got ${typeof value}`);
}

/** Protobuf JSON writes 64-bit integers as text. */
function integer(value: JsonValue | undefined): bigint {
  if (typeof value === "bigint") return value;
  if (typeof value === "string" && /^-?\d{1,20}$/.test(value)) return BigInt(value);
  throw new Error(`expected a whole number, got ${typeof value === "string" ? JSON.stringify(value.slice(0, 40)) : typeof value}`);
}
