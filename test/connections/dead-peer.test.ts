/** A server that is there and silent, as a stopped process is: connections stay open, and nothing is read or answered. */
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { PredictionClient } from "../../src/index.js";
import { type ServerProcess, startServerProcess } from "./processes.js";

let server: ServerProcess;
beforeAll(async () => {
  server = await startServerProcess();
});
afterAll(() => server.kill());

// Other systems know no such stop.
describe.skipIf(process.platform === "win32").each(["grpc", "rest"] as const)("a stopped server process over %s", (transport) => {
  let client: PredictionClient;
  beforeEach(async () => {
    client = new PredictionClient(server.targetOf(transport));
    // Connected, and over REST the signature is known.
    expect(await double(1)).toEqual([2]);
  });
  afterEach(() => client.close({ force: true }));

  const double = async (x: number, timeoutMs = 20_000) => {
    const { outputs } = await client.predict("double", { x: [x] }, { timeoutMs });
    return outputs.y?.toNested();
  };

  /** The call ends at its deadline, and not much later. */
  async function expectDeadline(call: Promise<unknown>, timeoutMs: number): Promise<void> {
    const from = performance.now();
    await expect(call).rejects.toMatchObject({ name: "RpcError", code: "DEADLINE_EXCEEDED" });
    expect(performance.now() - from).toBeLessThan(timeoutMs + 1000);
  }

  it("is noticed by a call at its deadline, and answers the next call once it goes on", async () => {
    server.stop();
    await expectDeadline(double(2, 200), 200);
    await expectDeadline(double(3, 200), 200);
    server.resume();
    expect(await double(4)).toEqual([8]);
  });

  it("is noticed by a call under way at its deadline", async () => {
    const call = client.predict("stuck", { x: [1] }, { timeoutMs: 800 });
    // The server is normally at it by then; if not, the call is one to a server that was stopped before.
    await pause(100);
    server.stop();
    await expectDeadline(call, 800);
    server.resume();
    expect(await double(4)).toEqual([8]);
  });

  it("answers calls that waited for it", async () => {
    server.stop();
    const calls = [double(2), double(3)];
    await expectDeadline(double(4, 200), 200);
    server.resume();
    expect(await Promise.all(calls)).toEqual([[4], [6]]);
  });

  it("is replaced by one on the same port, which answers the next call", async () => {
    server.stop();
    await expectDeadline(double(2, 200), 200);
    await server.kill();
    server = await startServerProcess(server.ports);
    expect(await double(3)).toEqual([6]);
  });
});
