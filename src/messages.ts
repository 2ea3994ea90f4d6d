/**
 * The bridge between our words and the generated messages, in both directions: the gRPC transport and the embedded server share it.
 *
 * Predict over gRPC has codecs of its own (`predict-codec.ts`); here stands everything that is not worth one. Examples and what is
 * inferred from them are in `inference-messages.ts`, the server's configuration is in `config-messages.ts`.
 */
import Long from "long";
import { TensorProto } from "../gen/tensorflow/core/framework/tensor.js";
import { TensorShapeProto } from "../gen/tensorflow/core/framework/tensor_shape.js";
import { SignatureDef, type TensorInfo } from "../gen/tensorflow/core/protobuf/meta_graph.js";
import { GetModelMetadataResponse, SignatureDefMap } from "../gen/tensorflow_serving/apis/get_model_metadata.js";
import { GetModelStatusResponse } from "../gen/tensorflow_serving/apis/get_model_status.js";
import { ModelSpec as ModelSpecProto } from "../gen/tensorflow_serving/apis/model.js";
import { PredictResponse } from "../gen/tensorflow_serving/apis/predict.js";
import { FormatError, isServingError, statusCodeFromNumber, statusCodes } from "./errors.js";
import type { ModelSpec } from "./model-spec.js";
import { type Signature, type TensorSpec, tensorNameOf } from "./signature.js";
import { decodeTensor, type ExpansionBudget, expansionBudget } from "./tensor/codec.js";
import { dtypeFromWire, dtypeToWire } from "./tensor/dtype.js";
import type { AnyTensor } from "./tensor/tensor.js";
import { WireReader } from "./tensor/wire.js";
import type { ModelMetadata, ModelVersionState, ModelVersionStatus, PredictResult } from "./transport/transport.js";

/** The one metadata field that TensorFlow Serving knows. */
export const signatureDefField = "signature_def";

const signatureDefMapUrl = "type.googleapis.com/tensorflow.serving.SignatureDefMap";

const hostIsLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

// Tensors

/**
 * The message for a tensor: numbers as `tensor_content`, strings as `string_val`.
 *
 * It shares the tensor's memory, so encode it before the tensor changes.
 */
export function tensorToProto(source: AnyTensor): TensorProto {
  const head = { dtype: dtypeToWire(source.dtype), tensorShape: shapeToProto(source.shape) };
  if (source.dtype === "string") return TensorProto.create({ ...head, stringVal: source.values });
  const { values } = source;
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return TensorProto.create({ ...head, tensorContent: littleEndian(bytes, values.BYTES_PER_ELEMENT) });
}

/**
 * The tensor in a message; its values are fresh memory of the caller.
 *
 * It goes through the bytes, so that the rules of decoding stand in one place.
 *
 * @param what - What errors call it, such as `output "y"`.
 * @param budget - Shared by the tensors of one message.
 * @throws TensorError as {@link decodeTensor} does.
 */
export function tensorFromProto(proto: TensorProto, what: string, budget = expansionBudget()): AnyTensor {
  return decodeTensor(new WireReader(TensorProto.encode(proto).finish()), what, budget);
}

function shapeToProto(shape: readonly (number | null)[]): TensorShapeProto {
  return TensorShapeProto.create({ dim: shape.map((size) => ({ size: Long.fromNumber(size ?? -1) })) });
}

/** The bytes of elements of `width` bytes in the order of the wire; a copy only on big-endian machines. */
function littleEndian<Bytes extends Uint8Array>(bytes: Bytes, width: number): Bytes | Uint8Array<ArrayBuffer> {
  if (hostIsLittleEndian || width === 1) return bytes;
  const swapped = new Uint8Array(bytes);
  for (let start = 0; start < swapped.length; start += width) swapped.subarray(start, start + width).reverse();
  return swapped;
}

/** A 64-bit field as a bigint. */
export function bigintFromLong(long: Long): bigint {
  const high = long.unsigned ? long.high >>> 0 : long.high;
  return (BigInt(high) << 32n) | BigInt(long.low >>> 0);
}

/** A 64-bit field for a whole number. */
export function longFromBigint(value: number | bigint): Long {
  const bits = BigInt(value);
  return Long.fromBits(Number(BigInt.asIntN(32, bits)), Number(BigInt.asIntN(32, bits >> 32n)));
}

// Model spec, Predict

/** The message for a model spec. */
export function modelSpecToProto(spec: ModelSpec): ModelSpecProto {
  return ModelSpecProto.create({
    name: spec.name,
    signatureName: spec.signatureName ?? "",
    ...(spec.version === undefined ? {} : { version: longFromBigint(spec.version) }),
    ...(spec.versionLabel === undefined ? {} : { versionLabel: spec.versionLabel }),
  });
}

/** The model spec in a message; nothing is checked, and a field that was not set is absent. */
export function modelSpecFromProto(proto: ModelSpecProto): ModelSpec {
  const named = { name: proto.name, ...(proto.signatureName === "" ? {} : { signatureName: proto.signatureName }) };
  if (proto.version !== undefined) return { ...named, version: bigintFromLong(proto.version) };
  if (proto.versionLabel !== undefined) return { ...named, versionLabel: proto.versionLabel };
  return named;
}

/** The message that answers a Predict call; shares the memory of the tensors. */
export function predictResultToProto(result: PredictResult): PredictResponse {
  const response = PredictResponse.create({ modelSpec: modelSpecToProto(result.modelSpec) });
  response.outputs = mapRecord(result.outputs, tensorToProto);
  return response;
}

// Signatures, metadata

/** The SignatureDef for a signature; tensors without a name get one by {@link tensorNameOf}. */
export function signatureToProto(signature: Signature, encodeDefault = tensorToProto): SignatureDef {
  const proto = SignatureDef.create({ methodName: signature.methodName });
  proto.inputs = mapRecord(signature.inputs, tensorInfo);
  proto.outputs = mapRecord(signature.outputs, tensorInfo);
  proto.defaults = Object.create(null) as Record<string, TensorProto>;
  for (const [name, spec] of Object.entries(signature.inputs)) {
    if (spec.default !== undefined) proto.defaults[name] = encodeDefault(spec.default);
  }
  return proto;
}

function tensorInfo(spec: TensorSpec, name: string): TensorInfo {
  return {
    name: tensorNameOf(name, spec),
    dtype: dtypeToWire(spec.dtype),
    tensorShape: spec.shape === null ? TensorShapeProto.create({ unknownRank: true }) : shapeToProto(spec.shape),
  };
}

/**
 * The signature in a SignatureDef; a dtype without a tensor here stands in it by name and is no error.
 *
 * @param budget - Shared by the defaults of one message.
 */
export function signatureFromProto(proto: SignatureDef, budget = expansionBudget()): Signature {
  return {
    methodName: proto.methodName,
    inputs: mapRecord(proto.inputs, (info, name) => {
      const value = Object.hasOwn(proto.defaults, name) ? defaultFromProto(proto.defaults[name], name, budget) : undefined;
      return value === undefined ? tensorSpec(info) : { ...tensorSpec(info), default: value };
    }),
    outputs: mapRecord(proto.outputs, tensorSpec),
  };
}

function defaultFromProto(proto: TensorProto | undefined, name: string, budget: ExpansionBudget): AnyTensor | undefined {
  if (proto === undefined) return undefined;
  try {
    return tensorFromProto(proto, `default of input "${name}"`, budget);
  } catch (error) {
    // A TensorError: a default of a dtype without a tensor here must not hide the rest of the metadata.
    if (isServingError(error, "TensorError")) return undefined;
    throw error;
  }
}

function tensorSpec(info: TensorInfo): TensorSpec {
  const dims = info.tensorShape?.dim ?? [];
  const shape = info.tensorShape?.unknownRank === true ? null : dims.map(({ size }) => (size.isNegative() ? null : size.toNumber()));
  return { dtype: dtypeFromWire(info.dtype), shape };
}

/** The message that answers GetModelMetadata. */
export function metadataToProto(metadata: ModelMetadata, encodeDefault = tensorToProto): GetModelMetadataResponse {
  const map = SignatureDefMap.create();
  map.signatureDef = mapRecord(metadata.signatures, (signature) => signatureToProto(signature, encodeDefault));
  const response = GetModelMetadataResponse.create({ modelSpec: modelSpecToProto(metadata.modelSpec) });
  response.metadata[signatureDefField] = { typeUrl: signatureDefMapUrl, value: SignatureDefMap.encode(map).finish() };
  return response;
}

/**
 * What GetModelMetadata answered, without signatures that nobody can call (`__saved_model_init_op`: neither inputs nor a method).
 *
 * @throws FormatError if the answer holds no signatures in the form TensorFlow Serving gives them.
 */
export function metadataFromProto(proto: GetModelMetadataResponse): ModelMetadata {
  const any = proto.metadata[signatureDefField];
  if (any?.typeUrl !== signatureDefMapUrl) {
    throw new FormatError(
      `metadata: expected ${signatureDefField} as ${signatureDefMapUrl}, got ${any?.typeUrl.slice(0, 100) ?? "nothing"}`,
    );
  }
  const signatures: Record<string, Signature> = Object.create(null);
  const budget = expansionBudget();
  for (const [name, definition] of Object.entries(SignatureDefMap.decode(any.value).signatureDef)) {
    const callable = definition.methodName !== "" || Object.keys(definition.inputs).length > 0;
    if (callable) signatures[name] = signatureFromProto(definition, budget);
  }
  const { name = "", version } = proto.modelSpec ?? {};
  return { modelSpec: { name, ...(version === undefined ? {} : { version: bigintFromLong(version) }) }, signatures };
}

// Status

/** Numbers of `ModelVersionStatus.State` (tensorflow_serving/apis/get_model_status.proto). */
const stateNumbers: Readonly<Record<ModelVersionState, number>> = {
  UNKNOWN: 0,
  START: 10,
  LOADING: 20,
  AVAILABLE: 30,
  UNLOADING: 40,
  END: 50,
};

const statesByNumber: ReadonlyMap<number, ModelVersionState> = new Map(
  (Object.keys(stateNumbers) as ModelVersionState[]).map((state) => [stateNumbers[state], state]),
);

/** The message that answers GetModelStatus. */
export function statusesToProto(statuses: readonly ModelVersionStatus[]): GetModelStatusResponse {
  return GetModelStatusResponse.create({
    modelVersionStatus: statuses.map((status) => ({
      version: longFromBigint(status.version),
      state: stateNumbers[status.state],
      status: { errorCode: statusCodes.indexOf(status.errorCode), errorMessage: status.errorMessage },
    })),
  });
}

/** What GetModelStatus answered, in the server's order. */
export function statusesFromProto(proto: GetModelStatusResponse): ModelVersionStatus[] {
  return proto.modelVersionStatus.map(({ version, state, status }) => ({
    version: bigintFromLong(version),
    state: statesByNumber.get(state) ?? "UNKNOWN",
    errorCode: statusCodeFromNumber(status?.errorCode ?? 0),
    errorMessage: status?.errorMessage ?? "",
  }));
}

/** A record of the same names with other values; no prototype, since the names come from outside. */
export function mapRecord<From, To>(
  record: Readonly<Record<string, From>>,
  convert: (value: From, name: string) => To,
): Record<string, To> {
  const mapped: Record<string, To> = Object.create(null);
  for (const [name, value] of Object.entries(record)) mapped[name] = convert(value, name);
  return mapped;
}
