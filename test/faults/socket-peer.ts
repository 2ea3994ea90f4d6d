/** The part that all raw peers have in common: a port whose connections meet a script, and are counted. */
import { type AddressInfo, createServer, type Socket } from "node:net";
import type { FaultPeer } from "./fault-case.js";

/** Start a peer on a free port of the loopback interface; each of its connections is handed over. */
export async function startSocketPeer(scheme: string, connected: (socket: Socket) => void): Promise<FaultPeer> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    // Resets are what this is about.
    socket.on("error", () => undefined).once("close", () => sockets.delete(socket));
    connected(socket);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    target: `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections() {
      // Whoever does not read does not see the other side's end.
      for (const socket of sockets) socket.resume();
      return sockets.size;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/** A port that was free a moment ago: nothing listens there. */
export async function startNobody(scheme: string): Promise<FaultPeer> {
  const peer = await startSocketPeer(scheme, () => undefined);
  await peer.close();
  return { ...peer, close: async () => undefined };
}
