/** Status and metadata over REST, as protobuf prints messages in JSON (`http_rest_api_util.cc` of TensorFlow Serving 2.20.0). */
import { type Signature, type TensorSpec, tensorNameOf } from "../signature.js";
import { dtypeToUpstreamName } from "../tensor/dtype.js";
import type { AnyTensor } from "../tensor/tensor.js";
import type { ModelMetadata, ModelVersionStatus } from "../transport/transport.js";
import { defaultTensor } from "./answer-tensor.js";
import { formatFloat } from "./format-float.js";
import { type BinaryString, binary, quoted } from "./pretty-json.js";

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
    Object.entries(specs).map(([name, spec]) => [
      name,
      { name: tensorNameOf(name, spec), dtype: dtypeToUpstreamName(spec.dtype), tensor_shape: tensorShape(spec.shape) },
    ]),
  );
}

function tensorShape(shape: readonly (number | null)[] | null): ProtoJson {
  return { dim: (shape ?? []).map((size) => ({ size: String(size ?? -1), name: "" })), unknown_rank: shape === null };
}

/** Every list is printed, empty or not. */
function tensorProto(value: AnyTensor): ProtoJson {
  const proto = defaultTensor(value);
  const floats = (values: readonly number[]) => values.map(floatJson);
  return {
    dtype: dtypeToUpstreamName(value.dtype),
    tensor_shape: tensorShape(value.shape),
    version_number: 0,
    tensor_content: base64(proto.tensorContent),
    float_val: floats(proto.floatVal),
    double_val: floats(proto.doubleVal),
    int_val: proto.intVal,
    string_val: proto.stringVal.map(base64),
    scomplex_val: floats(proto.scomplexVal),
    int64_val: proto.int64Val.map(String),
    bool_val: proto.boolVal,
    dcomplex_val: floats(proto.dcomplexVal),
    half_val: proto.halfVal,
    resource_handle_val: [],
    variant_val: [],
    uint32_val: proto.uint32Val,
    uint64_val: proto.uint64Val.map(String),
    float8_val: base64(proto.float8Val),
  };
}

/** JSON has no other numbers. */
function floatJson(value: number): ProtoJson {
  if (Number.isFinite(value)) return Object.is(Math.fround(value), value) ? Number(formatFloat(value, 9)) : value;
  return formatFloat(value, 9);
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
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
