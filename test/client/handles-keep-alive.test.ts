/** Connections over REST that the peer ends while nobody calls. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { PredictionClient } from "../../src/client/prediction-client.js";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A server that says what its requests came over, and a client of it. */
async function setUp(answer: (request: IncomingMessage, response: ServerResponse) => void) {
  const connections = new Set<Socket>();
  const server = createServer((request, response) => {
    connections.add(request.socket);
    answer(request, response);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const client = new PredictionClient("127.0.0.1", (server.address() as AddressInfo).port, { transport: "rest" });
  closers.push(
    () => new Promise((resolve) => server.close(resolve)),
    () => server.closeAllConnections(),
    () => client.close(),
  );
  return { client, connections };
}

const statuses = '{"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": {}}]}';
const results = '{"results": [1.0]}';
const bodyFor = ({ method }: IncomingMessage) => (method === "GET" ? statuses : results);

describe("a REST connection", () => {
  it("is used again", async () => {
    const { client, connections } = await setUp((request, response) => response.end(bodyFor(request)));
    for (let call = 0; call < 5; call++) await client.getModelStatus("m");
    // undici may not have noticed the end of the answer before last.
    expect(connections.size).toBeLessThanOrEqual(2);
  });

  it("is given up before the peer does so, where the peer says when that is", async () => {
    const { client, connections } = await setUp((request, response) => {
      response.setHeader("keep-alive", "timeout=1");
      response.end(bodyFor(request));
    });
    for (let call = 0; call < 3; call++) await client.getModelStatus("m");
    expect(connections.size).toBe(3);
  });

  it.each(["connection: close", "no word of it"])("that the peer ends after an answer, with %s, fails no later call", async (how) => {
    const { client, connections } = await setUp((request, response) => {
      if (how === "connection: close") response.setHeader("connection", "close");
      response.end(bodyFor(request), () => request.socket.end());
    });
    for (let call = 0; call < 20; call++) {
      await client.getModelStatus("m");
      await client.regress("m", [{ x: 1 }]);
    }
    expect(connections.size).toBe(40);
  });
});
