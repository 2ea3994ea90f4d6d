import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CallGate, type GatedCall } from "../../src/server/call-gate.js";
import { fronts, startBoth } from "./both-fronts.js";

const model = "half_plus_two";
const answered = expect.objectContaining({ version: 1n, state: "AVAILABLE" });

let both: Awaited<ReturnType<typeof startBoth>>;
beforeEach(async () => {
  both = await startBoth();
});
afterEach(() => both.close());

/** What a promise comes to, without waiting for it. */
function outcomeOf(work: Promise<unknown>): { settled: boolean } {
  const outcome = { settled: false };
  const settle = () => {
    outcome.settled = true;
  };
  work.then(settle, settle);
  return outcome;
}

describe.each(fronts)("a paused server over %s", (_title, front) => {
  it("takes connections and calls, and answers once it is resumed", async () => {
    const { server } = both;
    server.pause();
    const calls = [both.client(front), both.client(front)].map((client) => client.getModelStatus(model));
    const outcomes = calls.map(outcomeOf);
    await expect.poll(() => server.requests.length).toBe(2);
    expect(outcomes).toEqual([{ settled: false }, { settled: false }]);
    server.resume();
    expect(await Promise.all(calls)).toEqual([[answered], [answered]]);
  });

  it("holds the answers of calls that ran already", async () => {
    const { server, held } = both;
    const call = both.client(front).predict("held", [1]);
    const outcome = outcomeOf(call);
    await expect.poll(() => held.runs()).toBe(1);
    server.pause();
    held.release();
    // The time it takes another call to be held.
    const other = both.client(front).getModelStatus(model);
    await expect.poll(() => server.requests.at(-1)?.method).toBe("getModelStatus");
    expect(outcome.settled).toBe(false);
    server.resume();
    expect((await call).outputs).toHaveProperty("y");
    await other;
  });

  it("leaves clients to their deadlines", async () => {
    both.server.pause();
    await expect(both.client(front).getModelStatus(model, { timeoutMs: 150 })).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
  });

  it("answers what it holds when it closes", async () => {
    const { server } = both;
    server.pause();
    const call = both.client(front).getModelStatus(model);
    await expect.poll(() => server.requests.length).toBe(1);
    const from = performance.now();
    await Promise.all([server.close(), expect(call).resolves.toEqual([answered])]);
    expect(performance.now() - from).toBeLessThan(1_000);
  });

  it("loses what it holds when it restarts, and stays paused", async () => {
    const { server } = both;
    server.pause();
    const call = both.client(front).getModelStatus(model);
    await expect.poll(() => server.requests.length).toBe(1);
    await Promise.all([server.restart(), expect(call).rejects.toMatchObject({ code: "UNAVAILABLE" })]);
    const next = both.client(front).getModelStatus(model);
    await expect.poll(() => server.requests.length).toBe(2);
    server.resume();
    expect(await next).toEqual([answered]);
  });

  it("meets faults that are added while it is paused", async () => {
    const { server } = both;
    server.pause();
    const call = both.client(front).getModelStatus(model);
    await expect.poll(() => server.requests.length).toBe(1);
    server.faults.add({ code: "ABORTED" });
    server.resume();
    await expect(call).rejects.toMatchObject({ code: "ABORTED" });
  });
});

/** A call without a socket, and what became of it. */
function fakeCall(answer: () => Promise<string> = async () => "answer") {
  let isGone = false;
  const listeners = new Set<() => void>();
  const seen = { runs: 0, closed: 0 };
  const call: GatedCall<string> = {
    request: { transport: "grpc", method: "predict", model, metadata: {} },
    answer: () => {
      seen.runs++;
      return answer();
    },
    corrupt: (text) => "?".repeat(text.length),
    closeConnection: () => {
      seen.closed++;
    },
    isGone: () => isGone,
    onGone: (run) => {
      listeners.add(run);
      return () => listeners.delete(run);
    },
  };
  const goAway = () => {
    isGone = true;
    for (const run of listeners) run();
  };
  return { call, seen, listeners, goAway };
}

describe("CallGate", () => {
  it("neither runs nor keeps a held call whose client gives up", async () => {
    const gate = new CallGate();
    const { call, seen, listeners, goAway } = fakeCall();
    gate.pause();
    const run = gate.run(call);
    expect(listeners.size).toBe(1);
    goAway();
    expect(await run).toBeUndefined();
    expect(listeners.size).toBe(0);
    gate.resume();
    expect(seen).toEqual({ runs: 0, closed: 0 });
  });

  it("neither runs nor keeps a delayed call whose client gives up", async () => {
    const gate = new CallGate();
    const { call, seen, listeners, goAway } = fakeCall();
    gate.faults.add({ delayMs: 3_600_000, closeConnection: true });
    const run = gate.run(call);
    await expect.poll(() => listeners.size).toBe(1);
    goAway();
    expect(await run).toBeUndefined();
    expect(listeners.size).toBe(0);
    expect(seen).toEqual({ runs: 0, closed: 0 });
  });

  it("listens for a client that gives up only while something waits", async () => {
    const gate = new CallGate();
    const { call, listeners } = fakeCall(async () => {
      expect(listeners.size).toBe(0);
      return "answer";
    });
    expect(await gate.run(call)).toBe("answer");
  });

  it("holds errors and closed connections like answers", async () => {
    const gate = new CallGate();
    const failing = fakeCall(async () => {
      gate.pause();
      throw new Error("broken");
    });
    const failed = gate.run(failing.call);
    await expect.poll(() => failing.listeners.size).toBe(1);
    gate.resume();
    await expect(failed).rejects.toThrow("broken");

    gate.faults.add({ delayMs: 1, closeConnection: true });
    const closing = fakeCall();
    const closed = gate.run(closing.call);
    gate.pause();
    // Two waits, one after the other: the delay, then the pause.
    await expect.poll(() => closing.listeners.size).toBe(1);
    expect(closing.seen.closed).toBe(0);
    gate.resume();
    expect(await closed).toBeUndefined();
    expect(closing.seen).toEqual({ runs: 0, closed: 1 });
  });

  it("holds and delays nothing once it is closed", async () => {
    const gate = new CallGate();
    gate.faults.add({ delayMs: 3_600_000 });
    gate.close();
    gate.pause();
    expect(await gate.run(fakeCall().call)).toBe("answer");
  });
});
