import { describe, expect, it } from "vitest";
import { Calls } from "../../src/client/calls.js";
import { clientSettings } from "../../src/client/options.js";
import { parseDestination } from "../../src/client/target.js";

const target = parseDestination("host:8500");
const subject = { method: "predict", spec: { name: "m" } };
const calls = (to?: typeof target) => new Calls(clientSettings({}), to);

/** Work that rejects with its signal's reason, as our transports do. */
const untilSignal = (signal: AbortSignal | undefined) =>
  new Promise<never>((_resolve, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));

describe("Calls", () => {
  it("gives calls without a signal of their own one signal in common", async () => {
    const all = calls(target);
    const signals = await Promise.all([1, 2].map(() => all.run(subject, {}, async (call) => call.options.signal)));
    expect(signals[0]).toBe(signals[1]);
  });

  it("says nothing of leaks when many calls share a signal, and leaves no listener on it", async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on("warning", onWarning);
    const controller = new AbortController();
    const { signal } = controller;
    let listeners = 0;
    const { addEventListener, removeEventListener } = signal;
    signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      listeners++;
      addEventListener.apply(signal, args);
    };
    signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      listeners--;
      removeEventListener.apply(signal, args);
    };
    for (const to of [target, undefined]) {
      const all = calls(to);
      const gate = deferred();
      const running = Array.from({ length: 50 }, () => all.run(subject, { signal }, () => gate.promise));
      expect(listeners).toBe(1);
      gate.resolve();
      await Promise.all(running);
      expect(listeners).toBe(0);
    }
    // Warnings come a tick later.
    await new Promise((resolve) => setImmediate(resolve));
    process.off("warning", onWarning);
    expect(warnings).toEqual([]);
  });

  it("ends a call with the reason of its own signal, or of the close by force", async () => {
    const all = calls(target);
    const controller = new AbortController();
    const own = all.run(subject, { signal: controller.signal }, (call) => untilSignal(call.options.signal));
    const other = all.run(subject, {}, (call) => untilSignal(call.options.signal));
    controller.abort("enough");
    await expect(own).rejects.toBe("enough");
    all.cancelAll();
    await expect(other).rejects.toMatchObject({
      name: "ServingError",
      code: "CANCELLED",
      message: expect.stringContaining("closed by force"),
    });
  });

  it("leaves no timer behind, and needs none for transports that keep to the deadline", async () => {
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const before = timers();
    const during = (to?: typeof target) => calls(to).run(subject, {}, async () => timers() - before);
    expect(await during(target)).toBe(0);
    await during(undefined);
    expect(timers()).toBe(before);
  });

  it("drains: takes no more calls and waits for those that run", async () => {
    const all = calls(target);
    const gate = deferred();
    const running = all.run(subject, {}, () => gate.promise);
    let drained = false;
    const draining = all.drain().then(() => {
      drained = true;
    });
    await expect(all.run(subject, {}, async () => 1)).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: "FAILED_PRECONDITION: predict m: the client is closed",
    });
    expect(drained).toBe(false);
    gate.resolve();
    await Promise.all([running, draining]);
  });

  it("makes errors that name the server", () => {
    expect(calls(target).deadlineError(subject, "waiting")).toMatchObject({
      code: "DEADLINE_EXCEEDED",
      endpoint: "host:8500",
      transport: "grpc",
      message: "DEADLINE_EXCEEDED: predict m: time ran out while waiting",
    });
    const rest = new Calls(clientSettings({}), parseDestination("http://host:8501/prefix"));
    expect(rest.deadlineError({ method: "reloadConfig" }, "waiting")).toMatchObject({ endpoint: "host:8501/prefix", transport: "rest" });
    const several = new Calls(clientSettings({}), parseDestination(["a", "b:1"]));
    expect(several.deadlineError(subject, "waiting")).toMatchObject({ endpoint: "a:8500,b:1", transport: "grpc" });
    const name = new Calls(clientSettings({}), parseDestination("dns:///models"));
    expect(name.deadlineError(subject, "waiting")).toMatchObject({ endpoint: "dns:///models:8500", transport: "grpc" });
  });
});

/** A promise and how to fulfil it. */
function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((fulfil) => {
    resolve = fulfil;
  });
  return { promise, resolve };
}
