import { describe, expect, it } from "vitest";
import { SignatureCache, type Wanted } from "../../src/client/signature-cache.js";
import type { ModelMetadata } from "../../src/transport/transport.js";

const metadata = (version: bigint): ModelMetadata => ({ modelSpec: { name: "m", version }, signatures: {} });

/** A promise and how to fulfil it (`Promise.withResolvers` is not in Node 20). */
function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((fulfil) => {
    resolve = fulfil;
  });
  return { promise, resolve };
}

/** A cache with a clock that tests move, and a fetch that counts. */
function setUp(maxAgeMs = 60_000) {
  const clock = { now: 0 };
  const cache = new SignatureCache({ maxAgeMs, now: () => clock.now });
  let fetches = 0;
  const wanted = (more: Partial<Wanted> = {}): Wanted => ({
    deadline: performance.now() + 10_000,
    fetch: async () => metadata(BigInt(++fetches)),
    onDeadline: () => new Error("deadline"),
    ...more,
  });
  return { clock, cache, wanted, fetches: () => fetches };
}

describe("SignatureCache", () => {
  it("fetches once for all who ask at the same time", async () => {
    const { cache, wanted, fetches } = setUp();
    const entries = await Promise.all(Array.from({ length: 10 }, () => cache.get({ name: "m" }, wanted())));
    expect(new Set(entries).size).toBe(1);
    expect(fetches()).toBe(1);
  });

  it("keeps entries apart by name, version and label", async () => {
    const { cache, wanted, fetches } = setUp();
    const specs = [{ name: "m" }, { name: "n" }, { name: "m", version: 1 }, { name: "m", versionLabel: "1" }];
    for (const spec of specs) await cache.get(spec, wanted());
    await cache.get({ name: "m", version: 1n, signatureName: "other" }, wanted());
    expect(fetches()).toBe(4);
  });

  it("fetches an unpinned model again when it is old, a pinned one never", async () => {
    const { clock, cache, wanted, fetches } = setUp();
    await cache.get({ name: "m" }, wanted());
    await cache.get({ name: "m", version: 1 }, wanted());
    clock.now = 59_999;
    await cache.get({ name: "m" }, wanted());
    expect(fetches()).toBe(2);
    clock.now = 60_000;
    await cache.get({ name: "m" }, wanted());
    await cache.get({ name: "m", version: 1 }, wanted());
    expect(fetches()).toBe(3);
  });

  it("goes on for others when the caller that began the fetch aborts", async () => {
    const { cache, wanted } = setUp();
    const gate = deferred<ModelMetadata>();
    const abort = new AbortController();
    const first = cache.get({ name: "m" }, wanted({ signal: abort.signal, fetch: () => gate.promise }));
    const second = cache.get({ name: "m" }, wanted());
    const reason = new Error("changed my mind");
    abort.abort(reason);
    await expect(first).rejects.toBe(reason);
    gate.resolve(metadata(7n));
    expect((await second).metadata.modelSpec.version).toBe(7n);
  });

  it("ends a fetch for which nobody waits any more, and begins another for the next", async () => {
    const { cache, wanted, fetches } = setUp();
    const aborts = [new AbortController(), new AbortController()];
    let unwanted: AbortSignal | undefined;
    const fetch = (signal: AbortSignal) => {
      unwanted = signal;
      return new Promise<never>(() => undefined);
    };
    const waiting = aborts.map(({ signal }) => cache.get({ name: "m" }, wanted({ signal, fetch })).catch((error: unknown) => error));
    aborts[0]?.abort("first");
    expect(await waiting[0]).toBe("first");
    expect(unwanted?.aborted).toBe(false);
    aborts[1]?.abort("last");
    expect(await waiting[1]).toBe("last");
    expect(unwanted?.aborted).toBe(true);
    expect((await cache.get({ name: "m" }, wanted())).metadata.modelSpec.version).toBe(1n);
    expect(fetches()).toBe(1);
  });

  it("ends a caller's wait at the caller's deadline", async () => {
    const { cache, wanted } = setUp();
    const never = new Promise<ModelMetadata>(() => undefined);
    const waiting = cache.get({ name: "m" }, wanted({ deadline: performance.now() + 5, fetch: () => never }));
    await expect(waiting).rejects.toThrow("deadline");
  });

  it("does not keep failures", async () => {
    const { cache, wanted } = setUp();
    await expect(cache.get({ name: "m" }, wanted({ fetch: () => Promise.reject(new Error("down")) }))).rejects.toThrow("down");
    expect((await cache.get({ name: "m" }, wanted())).metadata.modelSpec.version).toBe(1n);
  });

  it("joins no fetch that began too early", async () => {
    const { clock, cache, wanted, fetches } = setUp();
    await cache.get({ name: "m" }, wanted());
    clock.now = 5;
    await cache.get({ name: "m" }, wanted({ notBefore: 5 }));
    await cache.get({ name: "m" }, wanted({ notBefore: 5 }));
    expect(fetches()).toBe(2);
  });

  it("does not store what a fetch from before a drop says", async () => {
    const { cache, wanted } = setUp();
    const gate = deferred<ModelMetadata>();
    const early = cache.get({ name: "m" }, wanted({ fetch: () => gate.promise }));
    cache.drop({ name: "m" });
    gate.resolve(metadata(1n));
    await early;
    expect(cache.peek({ name: "m" })).toBeUndefined();
  });
});
