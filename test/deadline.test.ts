import { describe, expect, it } from "vitest";
import { atDeadline, maxTimerMs, onAbort, settleWithin, sleep, untilAborted } from "../src/deadline.js";

const soon = (timeoutMs = 10_000) => performance.now() + timeoutMs;
const late = () => new Error("too late");

/** A signal that counts its listeners. */
function countingSignal() {
  const controller = new AbortController();
  const { signal } = controller;
  const counts = { now: 0, most: 0 };
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
    counts.most = Math.max(counts.most, ++counts.now);
    addEventListener.apply(signal, args);
  };
  signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
    counts.now--;
    removeEventListener.apply(signal, args);
  };
  return { controller, signal, counts };
}

describe("onAbort", () => {
  it("runs everything that waits, once", () => {
    const controller = new AbortController();
    const ran: number[] = [];
    for (const index of [0, 1, 2]) onAbort(controller.signal, () => ran.push(index));
    controller.abort();
    controller.abort();
    expect(ran).toEqual([0, 1, 2]);
  });

  it("does not run what was released", () => {
    const controller = new AbortController();
    const ran: number[] = [];
    const releases = [0, 1, 2].map((index) => onAbort(controller.signal, () => ran.push(index)));
    releases[1]?.();
    releases[1]?.();
    controller.abort();
    expect(ran).toEqual([0, 2]);
  });

  it("keeps one listener on the signal for all who wait, and none when nobody does", () => {
    const { signal, counts } = countingSignal();
    const releases = Array.from({ length: 50 }, () => onAbort(signal, () => undefined));
    expect(counts).toEqual({ now: 1, most: 1 });
    for (const release of releases) release();
    expect(counts).toEqual({ now: 0, most: 1 });
    const again = onAbort(signal, () => undefined);
    releases[0]?.();
    expect(counts.now).toBe(1);
    again();
    expect(counts.now).toBe(0);
  });
});

describe("atDeadline", () => {
  it("runs when the time has come", async () => {
    const from = performance.now();
    await new Promise<void>((resolve) => atDeadline(from + 20, resolve));
    expect(performance.now() - from).toBeGreaterThan(18);
  });

  it("runs soon for a deadline that has passed", async () => {
    await new Promise<void>((resolve) => atDeadline(performance.now() - 1000, resolve));
  });

  it("does not run after its release, nor at once for a deadline beyond what timers reach", async () => {
    const ran: string[] = [];
    atDeadline(performance.now(), () => ran.push("released"))();
    atDeadline(performance.now() + maxTimerMs + 1000, () => ran.push("far"));
    await new Promise<void>((resolve) => atDeadline(soon(5), resolve));
    expect(ran).toEqual([]);
  });
});

describe("untilAborted", () => {
  const reason = new Error("enough");

  it("does not start once the signal has aborted", async () => {
    let started = 0;
    const waiting = untilAborted(AbortSignal.abort(reason), () => {
      started++;
      return () => undefined;
    });
    await expect(waiting).rejects.toBe(reason);
    expect(started).toBe(0);
  });

  it("stops the work and rejects with the reason on abort", async () => {
    const { controller, signal, counts } = countingSignal();
    let stopped = 0;
    const waiting = untilAborted(signal, () => () => void stopped++);
    controller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    expect([stopped, counts.most]).toEqual([1, 1]);
  });

  it.each([
    ["resolves", (resolve: (value: number) => void) => resolve(1)],
    ["rejects", (_resolve: unknown, reject: (error: Error) => void) => reject(reason)],
  ])("leaves no listener when the work %s, even at once", async (_title, settle) => {
    const { signal, counts } = countingSignal();
    const waiting = untilAborted<number>(signal, (resolve, reject) => {
      settle(resolve, reject);
      return () => undefined;
    });
    await waiting.catch(() => undefined);
    expect(counts).toEqual({ now: 0, most: 1 });
  });
});

describe("settleWithin", () => {
  it("gives the work's outcome and leaves no listener", async () => {
    const { signal, counts } = countingSignal();
    const failure = new Error("no");
    expect(await settleWithin(Promise.resolve(1), { deadline: soon(), signal }, late)).toBe(1);
    await expect(settleWithin(Promise.reject(failure), { deadline: soon(), signal }, late)).rejects.toBe(failure);
    expect(counts.now).toBe(0);
  });

  it("ends at the deadline or on abort, although the work goes on and may fail unheard", async () => {
    const failing = sleep(20).then(() => Promise.reject(new Error("unheard")));
    const signal = AbortSignal.abort("enough");
    await expect(settleWithin(failing, { deadline: soon(5) }, late)).rejects.toThrow("too late");
    await expect(settleWithin(failing, { deadline: soon(), signal }, late)).rejects.toBe("enough");
    await expect(failing).rejects.toThrow("unheard");
  });
});

describe("sleep", () => {
  it("ends early with the signal's reason and leaves no timer", async () => {
    const controller = new AbortController();
    const before = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const sleeping = sleep(60_000, controller.signal);
    controller.abort("enough");
    await expect(sleeping).rejects.toBe("enough");
    expect(process.getActiveResourcesInfo().filter((name) => name === "Timeout").length).toBe(before);
  });
});
