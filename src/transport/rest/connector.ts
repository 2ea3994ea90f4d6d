/** Connecting to the server, with attempts that end when no call waits for them any more. */
import type { Socket } from "node:net";
import { buildConnector } from "undici";

/** When an attempt to connect is given up, in milliseconds; grpc-js waits as long. */
const connectTimeoutMs = 20_000;

/** What a pool connects with. */
export interface RestConnector {
  readonly connect: buildConnector.connector;
  /** Give up all attempts to connect. */
  abandon(): void;
}

/**
 * A connector that knows its running attempts.
 *
 * undici lets them go on after the call has met its deadline, and each keeps the process alive, `unref` or not.
 */
export function createConnector(): RestConnector {
  const connectTcp = buildConnector({ timeout: connectTimeoutMs });
  const connecting = new Set<Socket>();
  return {
    connect(options, callback) {
      // The types say nothing of the socket that comes back while it connects.
      const socket = connectTcp(options, (...result) => {
        if (socket !== undefined) connecting.delete(socket);
        callback(...result);
      }) as Socket | undefined;
      if (socket !== undefined) connecting.add(socket);
    },
    abandon() {
      for (const socket of connecting) socket.destroy(new Error("no call waits for this connection"));
      connecting.clear();
    },
  };
}
