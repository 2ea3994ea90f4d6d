/** REST connections that the peer ends while they are idle, just when the next call may come. */
import { createServer, type RequestListener } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { PredictionClient } from "../../src/index.js";
import { startModelServer } from "../../src/server/index.js";
import { models } from "./models.js";
import { listening, type Peer, startRelay } from "./peers.js";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function clientOf({ address }: Pick<Peer, "address">, options: object = {}): PredictionClient {
  const client = new PredictionClient(`http://${address}`, options);
  closers.push(() => client.close({ force: true }));
  return client;
}

/** What goes wrong when several callers call, pausing about as long as the peer keeps idle connections. */
async function failuresOf(call: () => Promise<unknown>, idleMs: number, rounds: number): Promise<unknown[]> {
  const failures: unknown[] = [];
  const caller = async () => {
    for (let round = 0; round < rounds; round++) {
      if (round > 0) await pause(idleMs * (0.7 + 0.6 * Math.random()));
      await call().catch((error: unknown) => failures.push(String(error)));
    }
  };
  await Promise.all(Array.from({ length: 20 }, caller));
  return failures;
}

const statuses = '{"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": {}}]}';

describe("a peer that tells how long it keeps idle connections", () => {
  it("never breaks a call, not even one that is sent once", async () => {
    const answer: RequestListener = (request, response) => response.end(request.method === "GET" ? statuses : '{"results": [1.0]}');
    const server = createServer({ keepAliveTimeout: 1000 }, answer);
    const peer = await listening(server);
    closers.push(() => peer.close());
    const client = clientOf(peer, { retry: false });
    const call = () => Promise.all([client.getModelStatus("m"), client.regress("m", [{ x: 1 }])]);
    expect(await failuresOf(call, 1000, 3)).toEqual([]);
  });
});

describe("a peer that ends idle connections without a word", () => {
  const idleMs = 100;

  it("breaks no call that may be sent again", async () => {
    const server = await startModelServer({ models });
    closers.push(() => server.close());
    const relay = await startRelay(server.restPort, { idleMs });
    closers.push(() => relay.close());
    const client = clientOf(relay);
    const call = () => client.predict("double", { x: [1] });
    expect(await failuresOf(call, idleMs, 8)).toEqual([]);
    expect(relay.ended()).toBeGreaterThan(0);
  });
});
