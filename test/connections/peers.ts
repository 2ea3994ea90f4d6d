/** Peers that end connections in their own time: relays before a server, and gRPC servers that say goodbye. */
import { createServer as createHttp2Server, type Http2Session, type ServerHttp2Stream } from "node:http2";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { Server as GrpcServer, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from "@grpc/grpc-js";
import { PredictResponse } from "../../gen/tensorflow_serving/apis/predict.js";
import { tensor } from "../../src/index.js";
import { predictResultToProto } from "../../src/messages.js";

/** A peer on a loopback port. */
export interface Peer {
  /** `127.0.0.1:port`. */
  readonly address: string;
  /** Connections that were made to it. */
  connections(): number;
  close(): Promise<void>;
}

/** What the gRPC peers here answer. */
export const cannedOutputs = { y: tensor("float32", [2], [1, 2]) };

/** Inputs for the gRPC peers here, which do not look at them. */
export const anyInputs = { x: tensor("float32", [2], [0, 0]) };

const modelSpec = { name: "m", version: 1n, signatureName: "serving_default" };
/** The same as a PredictResponse on the wire. */
export const cannedBytes = Buffer.from(PredictResponse.encode(predictResultToProto({ outputs: cannedOutputs, modelSpec })).finish());

/** A {@link Peer} that ends connections nobody uses. */
export interface ImpatientPeer extends Peer {
  /** Idle connections that it has ended. */
  ended(): number;
}

/** Start a relay to a loopback port that ends connections, without a word, when nothing has followed an answer for a time. */
export async function startRelay(port: number, { idleMs }: { readonly idleMs: number }): Promise<ImpatientPeer> {
  let ended = 0;
  const server = createServer((near) => {
    const far = connect(port, "127.0.0.1");
    // Either end may be reset by the other's end.
    for (const socket of [near, far]) socket.on("error", () => undefined);
    near.pipe(far);
    far.pipe(near);
    let idle: NodeJS.Timeout | undefined;
    // A call that waits for its answer is not idle, however long a busy machine takes.
    near.on("data", () => clearTimeout(idle));
    far.on("data", () => {
      clearTimeout(idle);
      idle = setTimeout(() => {
        ended++;
        near.destroy();
      }, idleMs);
    });
    near.on("close", () => {
      clearTimeout(idle);
      far.destroy();
    });
  });
  return { ...(await listening(server)), ended: () => ended };
}

/** How long a {@link startAgingServer | server} lets connections live, and how long it takes for an answer. */
export interface Ages {
  readonly ageMs: number;
  /** Time that calls on a connection of that age have left. */
  readonly graceMs: number;
  /** Time for the answer to the call of this number, counted from 1. */
  delayMs(call: number): number;
}

/** A {@link Peer} that counts the calls it runs. */
export interface AgingServer extends Peer {
  calls(): number;
}

/** Start a gRPC server with a maximum age for connections (`grpc.max_connection_age_ms`): it ends them with GOAWAY. */
export async function startAgingServer({ ageMs, graceMs, delayMs }: Ages): Promise<AgingServer> {
  const server = new GrpcServer({ "grpc.max_connection_age_ms": ageMs, "grpc.max_connection_age_grace_ms": graceMs });
  const path = "/tensorflow.serving.PredictionService/Predict";
  const same = (bytes: Buffer) => bytes;
  const codec = { requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same };
  let calls = 0;
  const predict = (_call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => {
    calls++;
    setTimeout(() => answer(null, cannedBytes), delayMs(calls));
  };
  server.addService({ predict: { path, requestStream: false, responseStream: false, ...codec } }, { predict });
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const peer = await listening(createServer((socket) => injector.injectConnection(socket)));
  return {
    ...peer,
    calls: () => calls,
    async close() {
      server.forceShutdown();
      await peer.close();
    },
  };
}

/** What a {@link startHttp2Peer | peer} does with sessions and calls. */
export interface Http2Script {
  onSession?(session: Http2Session): void;
  onCall?(stream: ServerHttp2Stream): void;
}

/** Start a bare HTTP/2 server; calls hang unless the script {@link answerCall | answers} them. */
export async function startHttp2Peer({ onSession, onCall }: Http2Script): Promise<Peer> {
  const server = createHttp2Server();
  server.on("session", (session) => onSession?.(session.on("error", () => undefined)));
  server.on("stream", (stream: ServerHttp2Stream) => {
    // The client's cancellation arrives as an error of the stream.
    stream.on("error", () => undefined);
    onCall?.(stream);
  });
  return listening(server);
}

/** Answer a call to a {@link startHttp2Peer | peer} as a gRPC server does. */
export function answerCall(stream: ServerHttp2Stream): void {
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  const head = Buffer.alloc(5);
  head.writeUInt32BE(cannedBytes.length, 1);
  stream.end(Buffer.concat([head, cannedBytes]));
}

/** Let a server listen on a free loopback port, and know its connections. */
export async function listening(server: Server): Promise<Peer> {
  const sockets = new Set<Socket>();
  let connections = 0;
  server.on("connection", (socket: Socket) => {
    connections++;
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections: () => connections,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
