/**
 * One side of one codec case: runs it for a while whenever the parent asks, and sends the time of a run in microseconds.
 *
 * Arguments: CASE SIDE.
 */
import Long from "long";
import { DataType } from "../../gen/tensorflow/core/framework/types.js";
import { PredictRequest, PredictResponse } from "../../gen/tensorflow_serving/apis/predict.js";
import { decodePredictResponse, EncodedPredictRequest } from "../../src/predict-codec.js";
import { tensor } from "../../src/tensor/tensor.js";
import { grpcAnswer } from "./answers.js";
import type { CodecCase, CodecSide } from "./codec.js";
import { serveRounds } from "./sides.js";

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

function int64Answer(): Uint8Array {
  const int64Val = Array.from({ length: 128 }, (_, i) => int64(i * 1e9));
  const ids = { dtype: DataType.DT_INT64, tensorShape: shapeProto([1, 128]), int64Val };
  return PredictResponse.encode(PredictResponse.fromPartial({ outputs: { ids } })).finish();
}

function decoders(bytes: Uint8Array): Record<CodecSide, () => unknown> {
  return { tfserving: () => decodePredictResponse(bytes), "ts-proto": () => PredictResponse.decode(bytes) };
}

const cases: Readonly<Record<CodecCase, () => Record<CodecSide, () => unknown>>> = {
  E1: () => ({ tfserving: encodeOurs, "ts-proto": () => encodeGenerated({ floatVal: Array.from(image) }) }),
  E2: () => ({ tfserving: encodeOurs, "ts-proto": () => encodeGenerated({ tensorContent: imageBytes() }) }),
  D1: () => decoders(grpcAnswer([1024, 1000])),
  D3: () => decoders(grpcAnswer([1, 1000])),
  D5: () => decoders(int64Answer()),
};

/** Long enough for the allocator to settle: after a pause, memory for 4 MB is fresh from the system, which takes longer than the copy. */
const roundMs = 300;

/** Time of one run in microseconds, over about {@link roundMs}. */
function timeOf(run: () => unknown): number {
  const start = performance.now();
  let runs = 0;
  let elapsedMs = 0;
  // The clock costs as much as a small run, so it is read for every tenth.
  while (elapsedMs < roundMs) {
    for (let i = 0; i < 10; i++) run();
    runs += 10;
    elapsedMs = performance.now() - start;
  }
  return (elapsedMs * 1000) / runs;
}

const [id, side] = process.argv.slice(2) as [CodecCase, CodecSide];
const run = cases[id]()[side];
// For V8 to compile what is hot.
for (let i = 0; i < 3; i++) timeOf(run);
serveRounds("ready", () => timeOf(run));
