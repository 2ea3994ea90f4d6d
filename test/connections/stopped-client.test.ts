/** A client whose process the system stops for a while, as a laptop's lid or a frozen container does. */
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type ModelServer, startModelServer } from "../../src/server/index.js";
import { models } from "./models.js";
import { cannedOutputs, startAgingServer, startRelay } from "./peers.js";
import { type ClientProcess, startClientProcess } from "./processes.js";

const stoppedMs = 400;

// Other systems know no such stop.
const describeStops = describe.skipIf(process.platform === "win32");

/** Stop a client for a while, in which something happens. */
async function stopped(client: ClientProcess, meanwhile: () => unknown = () => undefined, forMs = stoppedMs): Promise<void> {
  client.stop();
  await meanwhile();
  await pause(forMs);
  client.resume();
}

/** Several calls of a client at once. */
function severalCalls(client: ClientProcess) {
  return Array.from({ length: 8 }, (_, x) => client.call("double", x));
}

const severalAnswers = Array.from({ length: 8 }, (_, x) => ({ answer: [2 * x] }));

describeStops.each(["grpc", "rest"] as const)("a stopped client process over %s", (transport) => {
  let server: ModelServer;
  let client: ClientProcess;
  beforeAll(async () => {
    server = await startModelServer({ models });
    client = await startClientProcess(transport === "grpc" ? server.grpcTarget : server.restTarget);
  });
  afterAll(async () => {
    await client.kill();
    await server.close();
  });

  const predicts = () => server.requests.filter(({ method }) => method === "predict").length;

  /** A call that the server has begun to compute. */
  async function running(x: number, model: "slow" | "stuck" = "slow", timeoutMs?: number) {
    const before = predicts();
    const call = client.call(model, x, timeoutMs);
    await expect.poll(predicts, { interval: 5, timeout: 10_000 }).toBe(before + 1);
    return { call };
  }

  it("makes its next call", async () => {
    expect(await client.call("double", 1)).toEqual({ answer: [2] });
    await stopped(client);
    expect(await client.call("double", 2)).toEqual({ answer: [4] });
  });

  it("makes its next call although its connections were lost meanwhile", async () => {
    expect(await client.call("double", 1)).toEqual({ answer: [2] });
    await stopped(client, () => server.restart());
    expect(await client.call("double", 2)).toEqual({ answer: [4] });
  });

  it("makes calls that waited for it although its connections were lost meanwhile", async () => {
    await Promise.all(severalCalls(client));
    let calls: Promise<unknown>[] = [];
    await stopped(client, async () => {
      await server.restart();
      calls = severalCalls(client);
    });
    expect(await Promise.all(calls)).toEqual(severalAnswers);
  });

  it("gets an answer that came meanwhile", async () => {
    const { call } = await running(3);
    await stopped(client);
    expect(await call).toEqual({ answer: [6] });
  });

  it("sends a call again, once, whose connection was lost meanwhile", async () => {
    const before = predicts();
    const { call } = await running(4);
    await stopped(client, () => server.restart());
    expect(await call).toEqual({ answer: [8] });
    expect(predicts()).toBe(before + 2);
  });

  it("ends a call whose time was up meanwhile, and goes on", async () => {
    const timeoutMs = 1000;
    const { call } = await running(5, "stuck", timeoutMs);
    await stopped(client, undefined, timeoutMs);
    const from = performance.now();
    expect(await call).toEqual({ error: expect.stringContaining("DEADLINE_EXCEEDED: predict stuck: ") });
    expect(performance.now() - from).toBeLessThan(2000);
    expect(await client.call("double", 2)).toEqual({ answer: [4] });
  });
});

describeStops("a stopped client process whose idle connections the peer ends meanwhile", () => {
  const closers: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });

  async function startClient(target: string): Promise<ClientProcess> {
    const client = await startClientProcess(target);
    closers.push(() => client.kill());
    return client;
  }

  /** What becomes of calls that waited for the client, and then compete with the news of the end. */
  async function outcomes(client: ClientProcess): Promise<unknown[]> {
    await Promise.all(severalCalls(client));
    let calls: Promise<unknown>[] = [];
    await stopped(client, () => {
      calls = severalCalls(client);
    });
    return Promise.all(calls);
  }

  it.each(["grpc", "rest"] as const)("without a word over %s, makes the calls that waited for it", async (transport) => {
    const server = await startModelServer({ models });
    closers.push(() => server.close());
    const relay = await startRelay(transport === "grpc" ? server.grpcPort : server.restPort, { idleMs: stoppedMs / 2 });
    closers.push(() => relay.close());
    const client = await startClient(transport === "grpc" ? relay.address : `http://${relay.address}`);
    expect(await outcomes(client)).toEqual(severalAnswers);
  });

  it("with GOAWAY, makes the calls that waited for it", async () => {
    const server = await startAgingServer({ ageMs: stoppedMs / 2, graceMs: 5000, delayMs: () => 0 });
    closers.push(() => server.close());
    const answers = await outcomes(await startClient(server.address));
    expect(answers).toEqual(severalAnswers.map(() => ({ answer: cannedOutputs.y.toNested() })));
    expect(server.calls()).toBe(16);
    expect(server.connections()).toBeGreaterThan(1);
  });
});
