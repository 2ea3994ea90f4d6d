import { afterEach, describe, expect, it } from "vitest";
import { type ClientOptions, PredictionClient } from "../../src/index.js";
import { type ModelServer, servable, startModelServer } from "../../src/server/index.js";
import { startCannedGrpcServer } from "../support/canned-grpc-server.js";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const slow = { delayMs: 0 };

const doubling = servable({
  signatures: {
    serving_default: { inputs: { x: { dtype: "float32", shape: [null] } }, outputs: { y: { dtype: "float32", shape: [null] } } },
  },
  async predict({ x }) {
    if (slow.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, slow.delayMs));
    return { y: x.values.map((value) => 2 * value) };
  },
});

async function startReplicas(count: number): Promise<ModelServer[]> {
  const servers = await Promise.all(Array.from({ length: count }, () => startModelServer({ models: { m: doubling } })));
  closers.push(...servers.map((server) => () => server.close()));
  return servers;
}

function clientOf(to: string | readonly string[], options: ClientOptions = {}): PredictionClient {
  const client = new PredictionClient(to, options);
  closers.push(() => client.close());
  return client;
}

const targetsOf = (servers: readonly ModelServer[], transport: "grpc" | "rest") =>
  servers.map((server) => (transport === "grpc" ? server.grpcTarget : server.restTarget));

const countOf = ({ requests }: ModelServer) => requests.filter(({ method }) => method === "predict").length;

/** The answers to calls sent one after the other; each is a failure's code where there is one. */
async function predictions(client: PredictionClient, count: number): Promise<unknown[]> {
  const results: unknown[] = [];
  for (let call = 0; call < count; call++) {
    const outcome = client.predict("m", { x: [call] }).then(
      ({ outputs }) => outputs.y?.toNested(),
      (error: { code: string }) => error.code,
    );
    results.push(await outcome);
  }
  return results;
}

const doubled = (count: number) => Array.from({ length: count }, (_, call) => [2 * call]);

describe.each(["grpc", "rest"] as const)("replicas over %s", (transport) => {
  it("share the calls", async () => {
    const servers = await startReplicas(3);
    const client = clientOf(targetsOf(servers, transport));
    expect(await predictions(client, 60)).toEqual(doubled(60));
    const counts = servers.map(countOf);
    expect(counts.reduce((sum, count) => sum + count)).toBe(60);
    expect(Math.min(...counts)).toBeGreaterThan(0);
  });

  it("stand in for one that refuses", async () => {
    const servers = await startReplicas(2);
    servers[0]?.faults.add({ code: "UNAVAILABLE", message: "not now" });
    const client = clientOf(targetsOf(servers, transport), { retry: { initialBackoffMs: 1 } });
    expect(await predictions(client, 20)).toEqual(doubled(20));
    expect(client.endpoints().map(({ state }) => state)).toEqual(["ready", "ready"]);
  });

  it("stand in for one that is gone, which is ejected until it is back", async () => {
    const servers = await startReplicas(2);
    const targets = targetsOf(servers, transport);
    const client = clientOf(targets, { retry: { initialBackoffMs: 1 } });
    expect(await predictions(client, 4)).toEqual(doubled(4));
    const [gone] = servers as [ModelServer];
    const restarting = gone.restart({ downMs: 500 });
    expect(await predictions(client, 40)).toEqual(doubled(40));
    expect(client.endpoints().map(({ state }) => state)).toEqual(["ejected", "ready"]);
    await restarting;
    const before = countOf(gone);
    await expect.poll(async () => (await predictions(client, 5)) && client.endpoints()[0]?.state, { timeout: 10_000 }).toBe("ready");
    expect(countOf(gone)).toBeGreaterThan(before);
  });

  it("stand in for one that hangs, once attempts have a time-out", async () => {
    const servers = await startReplicas(2);
    const client = clientOf(targetsOf(servers, transport), { retry: { attemptTimeoutMs: 100, initialBackoffMs: 1 } });
    await predictions(client, 4);
    servers[0]?.pause();
    expect(await predictions(client, 100)).toEqual(doubled(100));
    expect(client.endpoints().map(({ state }) => state)).toEqual(["ejected", "ready"]);
    servers[0]?.resume();
  });

  it("lose no more than a call for each probe of one that came back hanging", async () => {
    const servers = await startReplicas(2);
    const [gone] = servers as [ModelServer];
    const client = clientOf(targetsOf(servers, transport), { timeoutMs: 500, retry: { initialBackoffMs: 1 } });
    await predictions(client, 4);
    const restarting = gone.restart({ downMs: 500 });
    await predictions(client, 40);
    gone.pause();
    await restarting;
    const end = performance.now() + 3000;
    let lost = 0;
    while (performance.now() < end) lost += (await predictions(client, 1))[0] === "DEADLINE_EXCEEDED" ? 1 : 0;
    expect(lost).toBeLessThanOrEqual(3);
    gone.resume();
  });

  it("are not all taken down by one call: after two it is given up (trap 41)", async () => {
    const servers = await startReplicas(4);
    for (const server of servers) server.faults.add({ match: { method: "predict" }, closeConnection: true });
    const client = clientOf(targetsOf(servers, transport), { retry: { maxRetries: 9, initialBackoffMs: 1 } });
    await expect(client.predict("m", { x: [1] })).rejects.toMatchObject({ code: "UNAVAILABLE", retryable: true });
    expect(servers.map(countOf).sort()).toEqual([0, 0, 1, 1]);
  });

  it("count their calls in flight", async () => {
    const [server] = await startReplicas(1);
    const [target = ""] = targetsOf(server === undefined ? [] : [server], transport);
    const client = clientOf([target, target]);
    const address = target.replace("http://", "");
    expect(client.endpoints()).toEqual([{ address, state: "idle", inFlight: 0 }]);
    await client.getModelMetadata("m");
    server?.pause();
    const calls = [1, 2, 3].map(() => client.getModelStatus("m"));
    await expect.poll(() => client.endpoints()).toEqual([{ address, state: "ready", inFlight: 3 }]);
    server?.resume();
    await Promise.all(calls);
    expect(client.endpoints()).toEqual([{ address, state: "ready", inFlight: 0 }]);
  });

  it("are sent no more calls at once than concurrency allows", async () => {
    const [server] = (await startReplicas(1)) as [ModelServer];
    const [target = ""] = targetsOf([server], transport);
    const client = clientOf(target, { concurrency: { maxInFlight: 2, maxQueued: 3 }, retry: false });
    await client.getModelMetadata("m");
    server.pause();
    const calls = Array.from({ length: 6 }, () => client.getModelStatus("m"));
    await expect(calls[5]).rejects.toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      endpoint: target.replace("http://", ""),
      hint: expect.stringContaining("maxQueued"),
    });
    expect(server.requests.filter(({ method }) => method === "getModelStatus").length).toBeLessThanOrEqual(2);
    server.resume();
    expect(await Promise.all(calls.slice(0, 5))).toHaveLength(5);
  });

  it("settle their calls before the client is closed", async () => {
    const servers = await startReplicas(2);
    const client = clientOf(targetsOf(servers, transport));
    slow.delayMs = 50;
    const calls = Promise.all([1, 2, 3, 4].map((x) => client.predict("m", { x: [x] })));
    await client.close();
    slow.delayMs = 0;
    expect((await calls).map(({ outputs }) => outputs.y?.toNested())).toEqual([[2], [4], [6], [8]]);
    await expect(client.predict("m", { x: [1] })).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
  });
});

describe("a default server's threads over gRPC", () => {
  it("are found out by its refusals, and the calls wait their turn from then on (trap 20)", async () => {
    const [server] = (await startReplicas(1)) as [ModelServer];
    server.faults.add({ match: { method: "predict" }, code: "RESOURCE_EXHAUSTED", message: "Server Threadpool Exhausted", times: 1 });
    const client = clientOf(server.grpcTarget, { retry: { initialBackoffMs: 1 } });
    await client
      .model("m")
      .predict({ x: [0] }, { retry: false })
      .catch(() => undefined);
    slow.delayMs = 100;
    const calls = Promise.all([1, 2, 3, 4].map((x) => client.predict("m", { x: [x] })));
    await expect.poll(() => client.endpoints()[0]?.inFlight).toBe(1);
    slow.delayMs = 0;
    expect(await calls).toHaveLength(4);
  });
});

describe("dns:///", () => {
  it("reaches every address of the name", async () => {
    const [server] = (await startReplicas(1)) as [ModelServer];
    const client = clientOf(`dns:///127.0.0.1:${server.grpcPort}`);
    expect(client.endpoints()).toEqual([]);
    expect(await predictions(client, 2)).toEqual(doubled(2));
    expect(client.endpoints()).toEqual([{ address: server.grpcTarget, state: "ready", inFlight: 0 }]);
  });

  it("tells servers the name that was asked for, unless authority says otherwise", async () => {
    const told: string[] = [];
    const server = await startCannedGrpcServer(({ authority }) => {
      told.push(authority);
      return { bytes: new Uint8Array(0) };
    });
    closers.push(() => server.close());
    const port = server.target.replace(/.*:/, "");
    await clientOf(`dns:///localhost:${port}`).getModelStatus("m");
    await clientOf(`dns:///localhost:${port}`, { authority: "models.example" }).getModelStatus("m");
    expect(told).toEqual([`localhost:${port}`, "models.example"]);
  });

  it("fails with the name where it has no address", async () => {
    const client = clientOf("dns:///no-such-host.invalid", { timeoutMs: 5000 });
    await expect(client.getModelStatus("m")).rejects.toMatchObject({
      code: "UNAVAILABLE",
      endpoint: "dns:///no-such-host.invalid:8500",
      serverMessage: expect.stringContaining("Name resolution failed"),
      hint: expect.stringContaining("no address"),
    });
  });
});
