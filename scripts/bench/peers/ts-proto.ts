/** ts-proto's generated code with its generated grpc-js client, as the README of ts-proto shows. */
import { credentials } from "@grpc/grpc-js";
import Long from "long";
import { DataType } from "../../../gen/tensorflow/core/framework/types.js";
import { type DeepPartial, PredictRequest } from "../../../gen/tensorflow_serving/apis/predict.js";
import { PredictionServiceClient } from "../../../gen/tensorflow_serving/apis/prediction_service.js";
import type { ConnectPeer, Peer } from "./peer.js";

function requestWith(length: number, values: { floatVal: number[] } | { tensorContent: Uint8Array }): DeepPartial<PredictRequest> {
  const tensorShape = { dim: [1, length].map((size) => ({ size: Long.fromNumber(size) })) };
  return { modelSpec: { name: "m" }, inputs: { x: { dtype: DataType.DT_FLOAT, tensorShape, ...values } } };
}

/** A request with the values' bytes: what who knows `tensor_content` writes. */
export function contentRequest(values: Float32Array<ArrayBuffer>): DeepPartial<PredictRequest> {
  return requestWith(values.length, { tensorContent: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) });
}

/** A request with a list of numbers: what one writes first. */
function floatValRequest(values: Float32Array<ArrayBuffer>): DeepPartial<PredictRequest> {
  return requestWith(values.length, { floatVal: Array.from(values) });
}

function connect(port: number, makeRequest: () => DeepPartial<PredictRequest>): Peer {
  const address = `127.0.0.1:${port}`;
  const client = new PredictionServiceClient(address, credentials.createInsecure(), { "grpc.max_receive_message_length": -1 });
  return {
    predict: () =>
      new Promise((resolve, reject) => {
        client.predict(PredictRequest.fromPartial(makeRequest()), (error, response) => (error ? reject(error) : resolve(response)));
      }),
    close: () => client.close(),
  };
}

/** Sends `tensor_content`. */
export const connectTsProtoContent: ConnectPeer = (port, values) => connect(port, () => contentRequest(values));

/** Sends `float_val`. */
export const connectTsProtoFloatVal: ConnectPeer = (port, values) => connect(port, () => floatValRequest(values));
