/** Servers that say goodbye (GOAWAY) to connections: no call is lost. */
import type { Http2Session, ServerHttp2Stream } from "node:http2";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { type ClientOptions, PredictionClient, type RpcError } from "../../src/index.js";
import { type Ages, answerCall, anyInputs, cannedOutputs, startAgingServer, startHttp2Peer } from "./peers.js";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function clientOf(address: string, options: ClientOptions = {}): PredictionClient {
  const client = new PredictionClient(address, options);
  closers.push(() => client.close({ force: true }));
  return client;
}

const patience = { timeout: 10_000 };
const callers = 16;
const durationMs = 1500;

/** Calls of several callers without end for a while, and the errors among their outcomes. */
async function callOnAndOn(client: PredictionClient): Promise<{ calls: number; errors: RpcError[] }> {
  const until = performance.now() + durationMs;
  const errors: RpcError[] = [];
  let calls = 0;
  const caller = async () => {
    while (performance.now() < until) {
      calls++;
      await client.predict("m", anyInputs).catch((error: RpcError) => errors.push(error));
      await pause(Math.random() * 5);
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return { calls, errors };
}

describe("max_connection_age", () => {
  const start = async (ages: Partial<Ages>) => {
    const server = await startAgingServer({ ageMs: 200, graceMs: 5000, delayMs: () => Math.random() * 50, ...ages });
    closers.push(() => server.close());
    return server;
  };

  it("loses no call", async () => {
    const server = await start({});
    const { calls, errors } = await callOnAndOn(clientOf(server.address));
    expect(errors.map(({ message }) => message)).toEqual([]);
    expect(server.calls()).toBe(calls);
    expect(server.connections()).toBeGreaterThan(2);
  });

  it("refuses calls unheard that cross its goodbye, which is why they are sent again", async () => {
    const server = await start({});
    const { calls, errors } = await callOnAndOn(clientOf(server.address, { retry: false }));
    const refusals = errors.filter(({ message, retryable }) => retryable && message === "UNAVAILABLE: predict m: Stream refused by server");
    expect(errors).toEqual(refusals);
    expect(server.calls()).toBe(calls - refusals.length);
  });

  // A server of Node (session.destroy()) ends all streams but one with RST_STREAM and code 0, before it ends the connection, and grpc-js makes
  // "INTERNAL: Received RST_STREAM with code 0 (Call ended without gRPC status)" of it. That text also stands for an HTTP server that is not
  // a gRPC one, so such calls are not sent again.
  it("loses no call that takes longer than the grace", async () => {
    const server = await start({ graceMs: 50, delayMs: (call) => (call <= 4 ? 5000 : 0) });
    const client = clientOf(server.address);
    const results = await Promise.all(Array.from({ length: 4 }, () => client.predict("m", anyInputs)));
    expect(results.length).toBe(4);
  });
});

describe("GOAWAY", () => {
  /** All streams may still be answered, those on their way included. */
  const lastStreamId = 2 ** 31 - 1;

  it("leaves calls under way alone, and sends the next over a new connection", async () => {
    const sessions: Http2Session[] = [];
    const streams: ServerHttp2Stream[] = [];
    const peer = await startHttp2Peer({
      onSession: (session) => sessions.push(session),
      onCall: (stream) => (streams.push(stream) === 1 ? undefined : answerCall(stream)),
    });
    closers.push(() => peer.close());
    const client = clientOf(peer.address, { retry: false });
    const first = client.predict("m", anyInputs);
    await expect.poll(() => streams.length, patience).toBe(1);
    sessions[0]?.goaway(0, lastStreamId);
    await expect.poll(() => client.predict("m", anyInputs).then(() => peer.connections()), patience).toBe(2);
    for (const stream of streams.slice(0, 1)) answerCall(stream);
    expect((await first).outputs).toEqual(cannedOutputs);
  });

  it("that comes while nobody calls costs no later call", async () => {
    const sessions: Http2Session[] = [];
    const peer = await startHttp2Peer({ onSession: (session) => sessions.push(session), onCall: answerCall });
    closers.push(() => peer.close());
    const client = clientOf(peer.address, { retry: false });
    for (let round = 1; round <= 5; round++) {
      expect((await client.predict("m", anyInputs)).outputs).toEqual(cannedOutputs);
      const closed = new Promise((resolve) => sessions.at(-1)?.once("close", resolve));
      sessions.at(-1)?.close();
      await closed;
      expect(peer.connections()).toBe(round);
    }
  });
});
