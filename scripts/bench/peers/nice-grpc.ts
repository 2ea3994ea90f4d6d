/** nice-grpc with a service definition of ts-proto, as its README shows; sends `tensor_content`. */
import { createChannel, createClient } from "nice-grpc";
import { PredictRequest, PredictResponse } from "../../../gen/tensorflow_serving/apis/predict.js";
import type { ConnectPeer } from "./peer.js";
import { contentRequest } from "./ts-proto.js";

/** What ts-proto generates with `outputServices=generic-definitions`; our generated code is for grpc-js. */
const PredictionServiceDefinition = {
  name: "PredictionService",
  fullName: "tensorflow.serving.PredictionService",
  methods: {
    predict: {
      name: "Predict",
      requestType: PredictRequest,
      requestStream: false,
      responseType: PredictResponse,
      responseStream: false,
      options: {},
    },
  },
} as const;

/** nice-grpc's client. */
export const connectNiceGrpc: ConnectPeer = (port, values) => {
  const channel = createChannel(`127.0.0.1:${port}`, undefined, { "grpc.max_receive_message_length": -1 });
  const client = createClient(PredictionServiceDefinition, channel);
  return { predict: () => client.predict(contentRequest(values)), close: () => channel.close() };
};
