/**
 * `npm run bench -- codec`: our codec against ts-proto's generated one, same process, rounds in turn; prints ratios (higher is better).
 */
import Long from "long";
import { DataType } from "../../gen/tensorflow/core/framework/types.js";
import { PredictRequest, PredictResponse } from "../../gen/tensorflow_serving/apis/predict.js";
import { decodePredictResponse, EncodedPredictRequest } from "../../src/predict-codec.js";
import { tensor } from "../../src/tensor/tensor.js";
import { compare } from "./compare.js";

const int64 = (value: number) => Long.fromNumber(value);
const shapeProto = (shape: readonly number[]) => ({ dim: shape.map((size) => ({ size: int64(size), name: "" })), unknownRank: false });

function randomFloats(count: number): Float32Array {
  return Float32Array.from({ length: count }, Math.random);
}

/** A PredictRequest by generated code, its tensor's values in the given fields. */
function generatedRequest(shape: readonly number[], values: { floatVal: number[] } | { tensorContent: Uint8Array }): Uint8Array {
  const x = { dtype: DataType.DT_FLOAT, tensorShape: shapeProto(shape), ...values };
  return PredictRequest.encode(PredictRequest.fromPartial({ modelSpec: { name: "m" }, inputs: { x } })).finish();
}

function floatResponse(shape: readonly number[]): Uint8Array {
  const floatVal = [...randomFloats(shape.reduce((product, dim) => product * dim, 1))];
  const y = { dtype: DataType.DT_FLOAT, tensorShape: shapeProto(shape), floatVal };
  return PredictResponse.encode(PredictResponse.fromPartial({ modelSpec: { name: "m" }, outputs: { y } })).finish();
}

/** Measure every codec line. */
export function benchCodec(): void {
  const image = randomFloats(784);
  const frame = Buffer.alloc(8192);
  const ours = () => new EncodedPredictRequest({ name: "m" }, { x: tensor("float32", [1, 784], image) }).copy(frame, 5);
  compare("E1 encode float32 [1,784] into the frame, ts-proto number[]", ours, () =>
    generatedRequest([1, 784], { floatVal: Array.from(image) }),
  );
  const content = () => new Uint8Array(image.buffer, image.byteOffset, image.byteLength);
  compare("E2 the same, ts-proto tensor_content", ours, () => generatedRequest([1, 784], { tensorContent: content() }));

  const decode = (label: string, bytes: Uint8Array) =>
    compare(
      label,
      () => decodePredictResponse(bytes),
      () => PredictResponse.decode(bytes),
    );
  decode("D1 decode float_val [1024,1000], ts-proto", floatResponse([1024, 1000]));
  decode("D3 decode float_val [1,1000], ts-proto", floatResponse([1, 1000]));
  const ids = {
    dtype: DataType.DT_INT64,
    tensorShape: shapeProto([1, 128]),
    int64Val: Array.from({ length: 128 }, (_, i) => int64(i * 1e9)),
  };
  decode("D5 decode int64_val [1,128], ts-proto", PredictResponse.encode(PredictResponse.fromPartial({ outputs: { ids } })).finish());
}
