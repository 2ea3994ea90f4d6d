/** Peers that give no answers: silent ones, and ports where nobody listens. */
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { type ClientOptions, PredictionClient, type Transport } from "../../src/index.js";
import type { ContractPeer, SilentPeer } from "./contract.js";

/** A gRPC server that takes every call and answers none. */
export async function startSilentGrpc(): Promise<SilentPeer> {
  const { called, call } = firstCall();
  const server = createHttp2Server().on("stream", (stream) => {
    // The client's cancellation arrives as an error of the stream.
    stream.on("error", () => undefined);
    call();
  });
  const { port, close } = await listening(server);
  return silentPeer(new PredictionClient(`127.0.0.1:${port}`), called, close);
}

/** An HTTP server that takes every request and answers none. */
export async function startSilentRest(options: ClientOptions): Promise<SilentPeer> {
  const { called, call } = firstCall();
  const { port, close } = await listening(createHttpServer(call));
  return silentPeer(new PredictionClient(`http://127.0.0.1:${port}`, options), called, close);
}

/** A transport whose calls never settle, not even at their deadline. */
export async function startSilentTransport(): Promise<SilentPeer> {
  const { called, call } = firstCall();
  const never = () => {
    call();
    return new Promise<never>(() => undefined);
  };
  const transport: Transport = {
    predict: never,
    classify: never,
    regress: never,
    multiInference: never,
    getModelMetadata: never,
    getModelStatus: never,
    reloadConfig: never,
    close: async () => undefined,
  };
  return silentPeer(new PredictionClient(transport), called, async () => undefined);
}

/** A client of a port that was just given up. */
export async function startDown(prefix: string, options: ClientOptions): Promise<ContractPeer> {
  const { port, close } = await listening(createServer());
  await close();
  const client = new PredictionClient(`${prefix}${port}`, options);
  return { client, close: () => client.close({ force: true }) };
}

function silentPeer(client: PredictionClient, called: Promise<void>, closeServer: () => Promise<void>): SilentPeer {
  return {
    client,
    called,
    close: async () => {
      await client.close({ force: true });
      await closeServer();
    },
  };
}

function firstCall(): { called: Promise<void>; call: () => void } {
  let call: () => void = () => undefined;
  const called = new Promise<void>((resolve) => {
    call = resolve;
  });
  return { called, call };
}

async function listening(server: Server): Promise<{ port: number; close(): Promise<void> }> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      for (const socket of sockets) socket.destroy();
    });
  return { port: (server.address() as AddressInfo).port, close };
}
