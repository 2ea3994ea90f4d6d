/** A process that makes one call with grpc-js and nothing else: bytes in, bytes out. Usage: grpc-js.mjs PORT */
import grpc from "@grpc/grpc-js";

const identity = (bytes) => bytes;
const request = Buffer.from("0a030a016d", "hex"); // PredictRequest { model_spec { name: "m" } }

const client = new grpc.Client(`127.0.0.1:${process.argv[2]}`, grpc.credentials.createInsecure());
client.makeUnaryRequest("/tensorflow.serving.PredictionService/Predict", identity, identity, request, (error, answer) => {
  if (error) throw error;
  if (answer.length === 0) throw new Error("expected an answer, got no bytes");
  client.close();
});
