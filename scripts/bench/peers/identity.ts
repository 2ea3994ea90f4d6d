/** Bare grpc-js: a ready message out, bytes in; nothing is encoded or decoded. The baseline of the end-to-end benches. */
import { Client, credentials } from "@grpc/grpc-js";
import { PredictRequest } from "../../../gen/tensorflow_serving/apis/predict.js";
import type { ConnectPeer } from "./peer.js";
import { contentRequest } from "./ts-proto.js";

const path = "/tensorflow.serving.PredictionService/Predict";
const unchanged = (bytes: Buffer): Buffer => bytes;

/** grpc-js with a request that was encoded once. */
export const connectIdentity: ConnectPeer = (port, values) => {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), { "grpc.max_receive_message_length": -1 });
  const request = Buffer.from(PredictRequest.encode(PredictRequest.fromPartial(contentRequest(values))).finish());
  return {
    predict: () =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(path, unchanged, unchanged, request, (error, response) => (error ? reject(error) : resolve(response)));
      }),
    close: () => client.close(),
  };
};
