/**
 * One comparison of our codec with ts-proto's generated code, in a process of its own: ts-proto's garbage would slow the next one.
 *
 * Argument: the id of the case. Prints the ratio (higher is better) and sends it to the parent.
 */
import Long from "long";
import { DataType } from "../../gen/tensorflow/core/framework/types.js";
import { PredictRequest, PredictResponse } from "../../gen/tensorflow_serving/apis/predict.js";
import { decodePredictResponse, EncodedPredictRequest } from "../../src/predict-codec.js";
import { tensor } from "../../src/tensor/tensor.js";
import { grpcAnswer } from "./answers.js";
import type { CodecCase } from "./codec.js";
import { compare } from "./compare.js";
import { sendToParent } from "./processes.js";

const int64 = (value: number) => Long.fromNumber(value);
const shapeProto = (shape: readonly number[]) => ({ dim: shape.map((size) => ({ size: int64(size), name: "" })), unknownRank: false });

const image = Float32Array.from({ length: 784 }, Math.random);
const imageBytes = () => new Uint8Array(image.buffer, image.byteOffset, image.byteLength);
const frame = Buffer.alloc(8192);

function encodeOurs(): unknown {
  return new EncodedPredictRequest({ name: "m" }, { x: tensor("float32", [1, 784], image) }).copy(frame, 5);
}

/** A PredictRequest by generated code, its tensor's values in the given fields. */
function encodeGenerated(values: { floatVal: number[] } | { tensorContent: Uint8Array }): Uint8Array {
  const x = { dtype: DataType.DT_FLOAT, tensorShape: shapeProto([1, 784]), ...values };
  return PredictRequest.encode(PredictRequest.fromPartial({ modelSpec: { name: "m" }, inputs: { x } })).finish();
}

function compareDecode(label: string, bytes: Uint8Array): number {
  return compare(
    label,
    () => decodePredictResponse(bytes),
    () => PredictResponse.decode(bytes),
  );
}

function int64Answer(): Uint8Array {
  const int64Val = Array.from({ length: 128 }, (_, i) => int64(i * 1e9));
  const ids = { dtype: DataType.DT_INT64, tensorShape: shapeProto([1, 128]), int64Val };
  return PredictResponse.encode(PredictResponse.fromPartial({ outputs: { ids } })).finish();
}

const cases: Readonly<Record<CodecCase, () => number>> = {
  E1: () =>
    compare("E1 encode float32 [1,784] into the frame, ts-proto number[]", encodeOurs, () =>
      encodeGenerated({ floatVal: Array.from(image) }),
    ),
  E2: () => compare("E2 the same, ts-proto tensor_content", encodeOurs, () => encodeGenerated({ tensorContent: imageBytes() })),
  D1: () => compareDecode("D1 decode float_val [1024,1000], ts-proto", grpcAnswer([1024, 1000])),
  D3: () => compareDecode("D3 decode float_val [1,1000], ts-proto", grpcAnswer([1, 1000])),
  D5: () => compareDecode("D5 decode int64_val [1,128], ts-proto", int64Answer()),
};

sendToParent(cases[process.argv[2] as CodecCase]());
process.disconnect();
