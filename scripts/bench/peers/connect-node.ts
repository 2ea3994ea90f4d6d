/** connect-node with messages of protobuf-es, as its README shows; sends `tensor_content`. */
import { createFileRegistry, type DescMessage, type DescMethodUnary, type DescService } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { DataType } from "../../../gen/tensorflow/core/framework/types.js";
import { compileProtos } from "../../../src/codegen/protos/buf.js";
import type { ConnectPeer } from "./peer.js";

/** A service that is known only when running: the compiler knows no more than that its Predict is a unary call. */
type PredictService = DescService & { method: { predict: DescMethodUnary<DescMessage, DescMessage> } };

/** The service as protobuf-es's generated code has it: that too is built from a descriptor when it is loaded. */
async function loadPredictionService(): Promise<PredictService> {
  const service = createFileRegistry(await compileProtos(process.cwd())).getService("tensorflow.serving.PredictionService");
  if (service === undefined) throw new Error("expected tensorflow.serving.PredictionService in the proto tree");
  return service as PredictService;
}

/** connect-node's client over its gRPC transport. */
export const connectConnectNode: ConnectPeer = async (port, values) => {
  const client = createClient(
    await loadPredictionService(),
    createGrpcTransport({
      baseUrl: `http://127.0.0.1:${port}`,
      // Its limit on answers is 4 GiB; but Node's limit of 10 MB for all streams of a connection refuses 64 calls of 1 MB.
      nodeOptions: { maxSessionMemory: 4096 },
    }),
  );
  return {
    predict: () =>
      client.predict({
        modelSpec: { name: "m" },
        inputs: {
          x: {
            dtype: DataType.DT_FLOAT,
            tensorShape: { dim: [{ size: 1n }, { size: BigInt(values.length) }] },
            tensorContent: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
          },
        },
      }),
    // Its connection closes by itself when idle, and the process that measured it ends anyway.
    close() {},
  };
};
