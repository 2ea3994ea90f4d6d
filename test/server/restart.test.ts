import { connect as connectHttp2 } from "node:http2";
import { type AddressInfo, connect, createServer } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { PredictionClient } from "../../src/client/prediction-client.js";
import type { RestartOptions } from "../../src/server/index.js";
import { startModelServer } from "../../src/server/index.js";
import { fronts, startBoth } from "./both-fronts.js";

const model = "half_plus_two";
const answered = expect.objectContaining({ version: 1n, state: "AVAILABLE" });

let both: Awaited<ReturnType<typeof startBoth>>;
beforeEach(async () => {
  both = await startBoth();
});
afterEach(() => both.close());

/** `open`, or the system's code for why a port takes no connection. */
function probe(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve("open");
    });
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? ""));
  });
}

/** A client may learn of its lost connection only with its next call, and grpc-js takes its time until it connects again. */
async function expectAnswer(client: PredictionClient): Promise<void> {
  await expect.poll(() => client.getModelStatus(model).catch(() => []), { timeout: 10_000 }).toEqual([answered]);
}

describe.each(fronts)("restart over %s", (_title, front) => {
  it("loses the calls in flight at once", async () => {
    const { server, held } = both;
    const calls = [both.client(front), both.client(front)].map((client) => client.predict("held", [1]));
    await expect.poll(() => held.runs()).toBe(2);
    const from = performance.now();
    const restarted = server.restart({ downMs: 200 });
    await Promise.all(calls.map((call) => expect(call).rejects.toMatchObject({ code: "UNAVAILABLE" })));
    expect(performance.now() - from).toBeLessThan(1_000);
    await restarted;
  });

  it("serves on the same port again, to clients of before", async () => {
    const { server } = both;
    const client = both.client(front);
    await client.getModelStatus(model);
    await server.restart();
    await expectAnswer(client);
  });

  it("refuses connections while it is away", async () => {
    const { server } = both;
    const port = front === "grpc" ? server.grpcPort : server.restPort;
    const from = performance.now();
    const restarted = server.restart({ downMs: 200 });
    expect(await probe(port)).toBe("ECONNREFUSED");
    await restarted;
    expect(performance.now() - from).toBeGreaterThan(190);
    expect(await probe(port)).toBe("open");
  });

  it("keeps faults and requests", async () => {
    const { server } = both;
    const fault = server.faults.add({ code: "ABORTED" });
    await expect(both.client(front).getModelStatus(model)).rejects.toThrow("ABORTED");
    await server.restart();
    await expect(both.client(front).getModelStatus(model)).rejects.toThrow("ABORTED");
    expect(fault.hits).toBe(2);
    expect(server.requests.length).toBe(2);
  });
});

describe("restart", () => {
  it("works again and again, with calls running", async () => {
    const { server } = both;
    for (let round = 0; round < 5; round++) {
      const calls = fronts.map(([, front]) => both.client(front).getModelStatus(model));
      await Promise.all([server.restart(), Promise.allSettled(calls)]);
    }
    for (const [, front] of fronts) await expectAnswer(both.client(front));
  });

  it("ends gRPC connections without the goodbye of a server that closes", async () => {
    const { server } = both;
    let goodbyes = 0;
    /** What waits for the end of a connection that is up. */
    const connection = async () => {
      const session = connectHttp2(`http://${server.grpcTarget}`).on("goaway", () => goodbyes++);
      const closed = new Promise<void>((resolve) => session.on("close", resolve));
      await new Promise((resolve) => session.once("remoteSettings", resolve));
      return () => closed;
    };
    const cut = await connection();
    await Promise.all([server.restart(), cut()]);
    expect(goodbyes).toBe(0);
    const ended = await connection();
    await Promise.all([server.close(), ended()]);
    expect(goodbyes).toBeGreaterThan(0);
  });

  it("comes back once a port that another process took is free", async () => {
    const { server } = both;
    const restarting = server.restart({ downMs: 200 });
    const thief = createServer();
    await expect.poll(() => probe(server.restPort)).toBe("ECONNREFUSED");
    await new Promise<void>((resolve) => thief.listen(server.restPort, "127.0.0.1", resolve));
    expect((thief.address() as AddressInfo).port).toBe(server.restPort);
    await expect(restarting).rejects.toMatchObject({ code: "EADDRINUSE" });
    expect(await probe(server.grpcPort)).toBe("ECONNREFUSED");
    await new Promise((resolve) => thief.close(resolve));
    await server.restart();
    expect(await both.client("rest").getModelStatus(model)).toEqual([answered]);
  });

  it("is ended by close, and no port opens again", async () => {
    const { server } = both;
    const restarting = server.restart({ downMs: 3_600_000 });
    await Promise.all([server.close(), expect(restarting).rejects.toThrow("the server was closed before it listened again")]);
    expect([await probe(server.grpcPort), await probe(server.restPort)]).toEqual(["ECONNREFUSED", "ECONNREFUSED"]);
  });

  describe("rejects", () => {
    it.each<[string, unknown, string]>([
      ["an unknown option", { downTimeMs: 5 }, "downTimeMs: unknown option, expected one of downMs"],
      ["a negative time", { downMs: -1 }, "downMs: expected a number of milliseconds from 0 to 2147483647, got -1"],
      ["a time that is no number", { downMs: "5" }, "got 5"],
    ])("%s", async (_title, options, message) => {
      await expect(both.server.restart(options as RestartOptions)).rejects.toThrow(message);
      expect(await probe(both.server.grpcPort)).toBe("open");
    });

    it("a restart beside another", async () => {
      const first = both.server.restart();
      await expect(both.server.restart()).rejects.toThrow("the server is restarting already");
      await first;
    });

    it("a restart of a closed server", async () => {
      const server = await startModelServer();
      await server.close();
      await expect(server.restart()).rejects.toThrow("the server is closed");
    });
  });
});
