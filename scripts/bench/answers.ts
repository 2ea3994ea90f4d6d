/** What the targets of the benches answer. Values are random: V8 keeps the texts of numbers it has printed, and few would all be known. */
import Long from "long";
import { DataType } from "../../gen/tensorflow/core/framework/types.js";
import { PredictResponse } from "../../gen/tensorflow_serving/apis/predict.js";
import { metadataJson } from "../../src/server/json-metadata.js";
import type { RestFormat } from "../../src/server/json-request.js";
import { predictJson } from "../../src/server/json-response.js";
import type { Signature } from "../../src/signature.js";
import { elementCount } from "../../src/tensor/shape.js";
import { type TensorOf, tensor } from "../../src/tensor/tensor.js";

/** A float32 tensor of random values below 1. */
export function randomTensor(shape: readonly number[]): TensorOf<"float32"> {
  return tensor("float32", shape, Float32Array.from({ length: elementCount(shape) }, Math.random));
}

/** A PredictResponse whose only output is a float32 tensor in `float_val`, as the server sends it. */
export function grpcAnswer(shape: readonly number[]): Uint8Array {
  const dim = shape.map((size) => ({ size: Long.fromNumber(size), name: "" }));
  const y = { dtype: DataType.DT_FLOAT, tensorShape: { dim, unknownRank: false }, floatVal: [...randomTensor(shape).values] };
  return PredictResponse.encode(PredictResponse.fromPartial({ modelSpec: { name: "m" }, outputs: { y } })).finish();
}

/** A model from one float32 matrix `x` to another, `y`. */
export const matrixSignature: Signature = {
  methodName: "tensorflow/serving/predict",
  inputs: { x: { dtype: "float32", shape: [null, null] } },
  outputs: { y: { dtype: "float32", shape: [null, null] } },
};

/** The body of a Predict answer over REST, in the server's digits and layout. */
export function restAnswer(shape: readonly number[], format: RestFormat = "column"): Buffer {
  return Buffer.from(predictJson({ y: randomTensor(shape) }, format), "latin1");
}

/** A body that is the answer to Predict and to GetModelMetadata, for a target that knows only one. */
export function restAnswerWithMetadata(shape: readonly number[]): Buffer {
  const metadata = metadataJson({ modelSpec: { name: "m", version: 1n }, signatures: { serving_default: matrixSignature } });
  const answer = restAnswer(shape).toString("latin1").trimEnd();
  return Buffer.from(`${answer.slice(0, -1)},${metadata.trimStart().slice(1)}`, "latin1");
}
