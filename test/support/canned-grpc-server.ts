/** A gRPC server that knows no messages: each test says what bytes or status answer which bytes. */
import { type Metadata, Server, ServerCredentials, type ServerUnaryCall, status } from "@grpc/grpc-js";

/** A request as it came over the wire. */
export interface CannedCall {
  /** `/package.Service/Method`. */
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly metadata: Metadata;
  /** Host the client called. */
  readonly authority: string;
  /** Aborts when the client cancels or its deadline passes. */
  readonly cancelled: AbortSignal;
}

/** What is sent back: a message, or a status other than OK. */
export type CannedAnswer = { readonly bytes: Uint8Array } | { readonly code: number; readonly message: string };

export interface CannedGrpcServer {
  /** `127.0.0.1:port`, or the address it was told to bind. */
  readonly target: string;
  close(): void;
}

const identity = (bytes: Buffer): Buffer => bytes;

const services = {
  "tensorflow.serving.PredictionService": ["Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata"],
  "tensorflow.serving.ModelService": ["GetModelStatus", "HandleReloadConfigRequest"],
};

/** Start a server on a free loopback port (or the given address) that answers every method with `answer`. */
export async function startCannedGrpcServer(
  answer: (call: CannedCall) => CannedAnswer | Promise<CannedAnswer>,
  address = "127.0.0.1:0",
): Promise<CannedGrpcServer> {
  const server = new Server({ "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 });
  for (const [service, methods] of Object.entries(services)) {
    const paths = methods.map((method) => `/${service}/${method}`);
    const definition = Object.fromEntries(paths.map((path) => [path, unaryDefinition(path)]));
    const handlers = paths.map((path) => [
      path,
      (call: ServerUnaryCall<Buffer, Buffer>, callback: Callback) => handle(path, call, callback),
    ]);
    server.addService(definition, Object.fromEntries(handlers));
  }

  type Callback = (error: { code: number; details: string } | null, value?: Buffer) => void;
  async function handle(path: string, call: ServerUnaryCall<Buffer, Buffer>, callback: Callback): Promise<void> {
    const cancelled = new AbortController();
    call.on("cancelled", () => cancelled.abort());
    try {
      const { metadata, request: bytes } = call;
      const result = await answer({ path, bytes, metadata, authority: call.getHost(), cancelled: cancelled.signal });
      if ("bytes" in result) callback(null, Buffer.from(result.bytes));
      else callback({ code: result.code, details: result.message });
    } catch (error) {
      callback({ code: status.UNKNOWN, details: `canned server: ${String(error)}` });
    }
  }

  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, bound) => (error === null ? resolve(bound) : reject(error)));
  });
  return { target: address.replace(/:0$/, `:${port}`), close: () => server.forceShutdown() };
}

function unaryDefinition(path: string) {
  const codec = { requestSerialize: identity, requestDeserialize: identity, responseSerialize: identity, responseDeserialize: identity };
  return { path, requestStream: false as const, responseStream: false as const, ...codec };
}
