/** The connections of gRPC channels, to peers that say nothing or read nothing. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { afterEach, expect, it } from "vitest";
import { Connections } from "../../../src/transport/grpc/connections.js";
import { createTlsCredentials } from "../../../src/transport/tls.js";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A connection to a peer that takes it and does nothing, not even read. */
async function connectToIdlePeer(): Promise<Socket> {
  const accepted: Socket[] = [];
  const server = createServer({ pauseOnConnect: true }, (socket) => accepted.push(socket.on("error", () => undefined)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1").on("error", () => undefined);
  await once(socket, "connect");
  closers.push(() => {
    for (const one of [socket, ...accepted]) one.destroy();
    server.close();
  });
  return socket;
}

const connectorOf = (connections: Connections) => connections._createSecureConnector({ path: "127.0.0.1:1" }, {});
const limits = { silenceMs: 50, lastWordsMs: 50 };

it("gives a TLS handshake up when the peer has said nothing for long enough", async () => {
  const connections = new Connections("localhost", createTlsCredentials({}), limits);
  const handshake = connectorOf(connections).connect(await connectToIdlePeer());
  await expect(handshake).rejects.toThrow("the connection ended before the TLS handshake did");
});

it("ends a plaintext connection whose peer has said nothing for long enough", async () => {
  const socket = await connectToIdlePeer();
  await connectorOf(new Connections("localhost", undefined, limits)).connect(socket);
  await once(socket, "close");
});

it("ends a connection of a closed channel whose peer does not take what is left to send", async () => {
  const connections = new Connections("localhost", undefined, { ...limits, silenceMs: 60_000 });
  const socket = await connectToIdlePeer();
  // As if the peer had spoken before.
  Object.defineProperty(socket, "bytesRead", { value: 0, writable: true });
  await connectorOf(connections).connect(socket);
  Object.assign(socket, { bytesRead: 9 });
  socket.write(Buffer.alloc(64 * 1024 * 1024));
  connections.abandon();
  await once(socket, "close");
  expect(socket.destroyed).toBe(true);
});

it("makes none for a channel that has been closed", async () => {
  const connections = new Connections("localhost", undefined, limits);
  connections.abandon();
  const socket = await connectToIdlePeer();
  await expect(connectorOf(connections).connect(socket)).rejects.toThrow("the channel is closed");
  expect(socket.destroyed).toBe(true);
});
