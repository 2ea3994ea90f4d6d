import { describe, expect, it } from "vitest";
import { transportOf } from "../../src/middleware/any-call.js";
import { EndpointPool, type EndpointSource, type WayTo } from "../../src/middleware/endpoint-pool.js";

/** An endpoint whose load tests set; it notes how often it was opened and closed. */
class FakeEndpoint implements EndpointSource {
  readonly address: string;
  load = { inFlight: 0, queued: 0 };
  opened = 0;
  closed = 0;
  handedBack = 0;

  constructor(address: string) {
    this.address = address;
  }

  open() {
    this.opened++;
    const { load } = this;
    const close = async () => {
      this.closed++;
    };
    const calls = transportOf(() => Promise.reject(new Error("the pool sends nothing")), { close });
    return Object.defineProperties(
      { ...calls, inFlight: 0, queued: 0, handBack: () => void this.handedBack++ },
      { inFlight: { get: () => load.inFlight }, queued: { get: () => load.queued } },
    );
  }
}

/** A pool with a clock that tests move, and randomness they choose: 0 unless they do. */
function setUp(...addresses: string[]) {
  const steps = { time: 0, randoms: [] as number[] };
  const pool = new EndpointPool({ now: () => steps.time, random: () => steps.randoms.shift() ?? 0 });
  const fakes = addresses.map((address) => new FakeEndpoint(address));
  pool.update(fakes);

  /** Begins a call, as far as the pool sees it. */
  function begin(...avoid: string[]): { readonly address: string; end(way: WayTo): void } {
    const { address, settled } = pool.pick(avoid.length === 0 ? undefined : avoid);
    const { load } = fakes.find((fake) => fake.address === address) as FakeEndpoint;
    load.inFlight++;
    const end = (way: WayTo) => {
      load.inFlight--;
      settled(way);
    };
    return { address, end };
  }

  /** Calls on one endpoint, one after the other. */
  function callOn(address: string, ...ways: WayTo[]): void {
    for (const way of ways) {
      const call = begin(...addresses.filter((other) => other !== address));
      expect(call.address).toBe(address);
      call.end(way);
    }
  }

  const states = () => Object.fromEntries(pool.statuses().map(({ address, state }) => [address, state]));
  return { steps, pool, fakes, begin, callOn, states };
}

const threeLosses: WayTo[] = ["lost", "lost", "lost"];

describe("EndpointPool picks", () => {
  it("the less loaded of two, counting calls that run and calls that wait", () => {
    const { pool, fakes, steps } = setUp("a", "b", "c");
    const [a, b] = fakes as [FakeEndpoint, FakeEndpoint];
    a.load.inFlight = 2;
    b.load.inFlight = 1;
    expect(pool.pick(undefined).address).toBe("b");
    b.load.queued = 2;
    expect(pool.pick(undefined).address).toBe("a");
    // c has no calls at all, but is not among the two.
    steps.randoms = [0, 0.5];
    expect(pool.pick(undefined).address).toBe("c");
  });

  it("the first picked of two with equal load", () => {
    const { pool, steps } = setUp("a", "b", "c");
    steps.randoms = [0.34, 0, 0.99, 0.99];
    expect(pool.pick(undefined).address).toBe("b");
    expect(pool.pick(undefined).address).toBe("c");
  });

  it("from every pair of different endpoints, whatever the randomness", () => {
    const { pool, fakes, steps } = setUp("a", "b", "c");
    const pairs: string[] = [];
    for (const first of [0, 1, 2]) {
      for (const other of [0, 0.999]) {
        steps.randoms = [first / 3 + 0.001, other];
        const { address } = fakes[first] as FakeEndpoint;
        for (const fake of fakes) fake.load.inFlight = fake.address === address ? 1 : 0;
        pairs.push(address + pool.pick(undefined).address);
      }
    }
    expect(pairs).toEqual(["ab", "ac", "ba", "bc", "ca", "cb"]);
  });

  it("the only one without asking for randomness", () => {
    const { pool, steps } = setUp("a");
    steps.randoms = [0.5];
    expect(pool.pick(undefined).address).toBe("a");
    expect(steps.randoms).toEqual([0.5]);
  });

  it("another than those to avoid as long as there is one", () => {
    const { pool, fakes } = setUp("a", "b", "c");
    (fakes[2] as FakeEndpoint).load.inFlight = 9;
    expect(pool.pick(["a", "b"]).address).toBe("c");
    expect(pool.pick(["a", "elsewhere"]).address).toBe("b");
    expect(pool.pick(["a", "b", "c"]).address).toBe("a");
    expect(pool.pick([]).address).toBe("a");
  });

  it("an ejected endpoint before its time rather than one to avoid, with one call", () => {
    const { callOn, begin } = setUp("a", "b");
    callOn("b", ...threeLosses);
    expect([begin("a").address, begin("a").address, begin("a", "b").address]).toEqual(["b", "a", "a"]);
  });

  it("the ejected endpoint whose time comes first when the last ready one fails as well", () => {
    const { callOn, begin, steps, states } = setUp("a", "b", "c");
    callOn("a", ...threeLosses);
    steps.time = 10;
    callOn("b", ...threeLosses);
    callOn("c", ...threeLosses);
    expect(states()).toEqual({ a: "ejected", b: "ejected", c: "ready" });
    const probe = begin();
    expect([probe.address, begin().address, begin().address]).toEqual(["a", "b", "c"]);
    probe.end("works");
    expect(begin().address).toBe("a");
  });
});

describe("EndpointPool ejects", () => {
  it("an endpoint at its third loss in a row", () => {
    const { callOn, states } = setUp("a", "b");
    callOn("a", "lost", "lost");
    expect(states()).toEqual({ a: "ready", b: "ready" });
    callOn("a", "lost");
    expect(states()).toEqual({ a: "ejected", b: "ready" });
    callOn("b", "works", "works");
  });

  it("nothing for calls that were lost together, which count once", () => {
    const { begin, callOn, states } = setUp("a", "b");
    const together = Array.from({ length: 9 }, () => begin("b"));
    for (const call of together) call.end("lost");
    expect(states()).toEqual({ a: "ready", b: "ready" });
    callOn("a", "lost", "lost");
    expect(states()).toEqual({ a: "ejected", b: "ready" });
  });

  it("with the calls that wait for the endpoint handed back", () => {
    const { fakes, callOn } = setUp("a", "b");
    callOn("a", "lost", "lost");
    expect(fakes.map(({ handedBack }) => handedBack)).toEqual([0, 0]);
    callOn("a", "lost");
    expect(fakes.map(({ handedBack }) => handedBack)).toEqual([1, 0]);
  });

  it("after losses in a row only: what works begins a new row, what tells nothing changes nothing", () => {
    const { callOn, states } = setUp("a", "b");
    callOn("a", "lost", "lost", "works", "lost", "unknown", "lost", "silent");
    expect(states()).toEqual({ a: "ready", b: "ready" });
    callOn("a", "lost");
    expect(states()).toEqual({ a: "ejected", b: "ready" });
  });

  it("never the last one that is ready, and that one once another is back", () => {
    const { callOn, states, steps, begin } = setUp("a", "b");
    callOn("a", ...threeLosses);
    callOn("b", ...threeLosses, ...threeLosses);
    expect(states()).toEqual({ a: "ejected", b: "ready" });
    steps.time = 1000;
    const probe = begin();
    callOn("b", "lost");
    expect(states()).toEqual({ a: "probing", b: "ready" });
    probe.end("works");
    callOn("b", "lost");
    expect(states()).toEqual({ a: "ready", b: "ejected" });
  });

  it("never the only one", () => {
    const { callOn, states } = setUp("a");
    callOn("a", ...threeLosses, ...threeLosses);
    expect(states()).toEqual({ a: "ready" });
  });

  it("not the last one that stays while others drain", () => {
    const { pool, fakes, begin, states } = setUp("a", "b");
    const drains = begin("b");
    pool.update(fakes.slice(1));
    for (const way of threeLosses) begin().end(way);
    expect(states()).toEqual({ a: "draining", b: "ready" });
    drains.end("works");
  });
});

describe("EndpointPool probes", () => {
  it("with one call, once the ejection is over", () => {
    const { callOn, begin, states, steps } = setUp("a", "b");
    callOn("a", ...threeLosses);
    steps.time = 999;
    expect(begin().address).toBe("b");
    steps.time = 1000;
    expect(begin().address).toBe("a");
    expect(states()).toEqual({ a: "probing", b: "ready" });
    expect([begin().address, begin("b").address]).toEqual(["b", "b"]);
  });

  it("not with a call that avoids the endpoint", () => {
    const { callOn, begin, steps } = setUp("a", "b");
    callOn("a", ...threeLosses);
    steps.time = 1000;
    expect(begin("a").address).toBe("b");
    expect(begin("a", "b").address).toBe("b");
    expect(begin("b").address).toBe("a");
  });

  it("not with a call that cannot be one", () => {
    const { callOn, pool, steps } = setUp("a", "b");
    callOn("a", ...threeLosses);
    steps.time = 1000;
    expect(pool.pick(undefined, false).address).toBe("b");
    expect(pool.pick(undefined, true).address).toBe("a");
  });

  it("several endpoints at the same time, each with one call", () => {
    const { callOn, begin, steps } = setUp("a", "b", "c");
    callOn("a", ...threeLosses);
    callOn("b", ...threeLosses);
    steps.time = 1000;
    expect([begin().address, begin().address, begin().address]).toEqual(["a", "b", "c"]);
  });

  it("and has the endpoint back when the probe works, with all counts at their start", () => {
    const { callOn, begin, states, steps } = setUp("a", "b");
    callOn("a", ...threeLosses);
    steps.time = 1000;
    begin().end("lost");
    steps.time = 3000;
    begin().end("works");
    callOn("a", "lost", "lost");
    expect(states()).toEqual({ a: "ready", b: "ready" });
    callOn("a", "lost");
    steps.time = 3999;
    expect(begin().address).toBe("b");
    steps.time = 4000;
    expect(begin().address).toBe("a");
  });

  it.each(["lost", "silent"] as const)("again after twice as long, up to 30 s, when the probe was %s", (way) => {
    const { callOn, begin, steps } = setUp("a", "b");
    callOn("a", ...threeLosses);
    const waitsMs: number[] = [];
    for (let probes = 0; probes < 8; probes++) {
      const ejectedAt = steps.time;
      for (let call = begin(); ; call = begin()) {
        const isProbe = call.address === "a";
        call.end(isProbe ? way : "works");
        if (isProbe) break;
        steps.time += 500;
      }
      waitsMs.push(steps.time - ejectedAt);
    }
    expect(waitsMs).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  });

  it("again after the same time when the probe told nothing", () => {
    const { callOn, begin, states, steps } = setUp("a", "b");
    callOn("a", ...threeLosses);
    steps.time = 1000;
    begin().end("unknown");
    expect(states()).toEqual({ a: "ejected", b: "ready" });
    steps.time = 1999;
    expect(begin().address).toBe("b");
    steps.time = 2000;
    const again = begin();
    expect(again.address).toBe("a");
    again.end("works");
    expect(states()).toEqual({ a: "ready", b: "ready" });
  });

  it("whatever becomes of calls from before the ejection", () => {
    const { begin, callOn, states, steps } = setUp("a", "b");
    const early = Array.from({ length: 6 }, () => begin("b"));
    const endOne = (way: WayTo) => early.pop()?.end(way);
    callOn("a", ...threeLosses);
    steps.time = 900;
    for (const way of ["lost", "works", "unknown"] as const) endOne(way);
    expect(states()).toEqual({ a: "ejected", b: "ready" });
    steps.time = 1000;
    const probe = begin();
    expect(probe.address).toBe("a");
    for (const way of ["lost", "unknown"] as const) endOne(way);
    expect(states()).toEqual({ a: "probing", b: "ready" });
    probe.end("works");
    for (const way of ["lost", "lost"] as const) begin("b").end(way);
    endOne("lost");
    expect(states()).toEqual({ a: "ready", b: "ready" });
  });
});

describe("EndpointPool opens", () => {
  it("an endpoint anew for each probe, and closes what it had before", () => {
    const { fakes, callOn, begin, steps } = setUp("a", "b");
    const [a] = fakes as [FakeEndpoint, FakeEndpoint];
    callOn("a", ...threeLosses);
    expect([a.opened, a.closed]).toEqual([1, 0]);
    steps.time = 1000;
    const probe = begin();
    expect([a.opened, a.closed]).toEqual([2, 1]);
    probe.end("works");
    expect([a.opened, a.closed]).toEqual([2, 1]);
  });

  it("and closes what still had a call with the end of that", () => {
    const { fakes, callOn, begin, steps } = setUp("a", "b");
    const [a] = fakes as [FakeEndpoint, FakeEndpoint];
    const early = begin("b");
    callOn("a", ...threeLosses);
    steps.time = 1000;
    begin();
    expect([a.opened, a.closed]).toEqual([2, 0]);
    early.end("works");
    expect([a.opened, a.closed]).toEqual([2, 1]);
  });

  it("nothing that is not closed with the pool", async () => {
    const { pool, fakes, callOn, begin, steps } = setUp("a", "b");
    const [a] = fakes as [FakeEndpoint, FakeEndpoint];
    begin("b");
    callOn("a", ...threeLosses);
    steps.time = 1000;
    begin();
    await pool.close();
    expect([a.opened, a.closed]).toEqual([2, 2]);
  });
});

describe("EndpointPool follows its addresses", () => {
  it("opens each new one once, and keeps what it knows of the others", () => {
    const { pool, fakes, callOn, states } = setUp("a", "b", "a");
    const [a, b, again] = fakes as [FakeEndpoint, FakeEndpoint, FakeEndpoint];
    callOn("b", ...threeLosses);
    const c = new FakeEndpoint("c");
    pool.update([c, new FakeEndpoint("b"), a]);
    expect([a, b, again, c].map(({ opened }) => opened)).toEqual([1, 1, 0, 1]);
    expect(states()).toEqual({ a: "ready", b: "ejected", c: "ready" });
  });

  it("closes an endpoint that leaves at once if it is idle, else with its last call", () => {
    const { pool, fakes, begin, states } = setUp("a", "b", "c");
    const [a, b, c] = fakes as [FakeEndpoint, FakeEndpoint, FakeEndpoint];
    const calls = [begin("b", "c"), begin("b", "c")];
    pool.update([c]);
    expect([a.closed, b.closed]).toEqual([0, 1]);
    expect(pool.statuses()).toEqual([
      { address: "a", state: "draining", inFlight: 2 },
      { address: "c", state: "ready", inFlight: 0 },
    ]);
    calls[0]?.end("works");
    expect(a.closed).toBe(0);
    expect(begin("c").address).toBe("c");
    calls[1]?.end("lost");
    expect(a.closed).toBe(1);
    expect(states()).toEqual({ c: "ready" });
  });

  it("closes an endpoint that leaves once, though its last calls end together", () => {
    const { pool, fakes, begin } = setUp("a", "b");
    const [a, b] = fakes as [FakeEndpoint, FakeEndpoint];
    const calls = [begin("b"), begin("b")];
    pool.update([b]);
    // The transport has counted both down before the pool hears of the first.
    a.load.inFlight = 0;
    calls[0]?.end("lost");
    pool.update([a, b]);
    pool.update([b]);
    expect([a.opened, a.closed]).toEqual([1, 0]);
    calls[1]?.end("lost");
    expect(a.closed).toBe(1);
  });

  it("has an endpoint that comes back while it drains ready again, and does not open it twice", () => {
    const { pool, fakes, begin, callOn, states } = setUp("a", "b");
    const [a, b] = fakes as [FakeEndpoint, FakeEndpoint];
    callOn("a", "lost", "lost");
    const call = begin("b");
    pool.update([b]);
    pool.update([a, b]);
    expect(states()).toEqual({ a: "ready", b: "ready" });
    call.end("lost");
    expect([a.opened, a.closed]).toEqual([1, 0]);
    callOn("a", "lost");
    expect(states()).toEqual({ a: "ready", b: "ready" });
  });

  it("opens an endpoint that comes back after it was closed anew", () => {
    const { pool, fakes } = setUp("a", "b");
    const [a, b] = fakes as [FakeEndpoint, FakeEndpoint];
    pool.update([b]);
    pool.update([a, b]);
    expect([a.opened, a.closed]).toEqual([2, 1]);
  });

  it("uses ejected endpoints all the same when no others are left", () => {
    const { pool, fakes, begin, callOn, states } = setUp("a", "b", "c");
    const [a, b] = fakes as [FakeEndpoint, FakeEndpoint];
    callOn("a", ...threeLosses);
    callOn("b", ...threeLosses);
    pool.update([a, b]);
    expect(states()).toEqual({ a: "ready", b: "ready" });
    expect([begin("b").address, begin("a").address]).toEqual(["a", "b"]);
  });
});

describe("EndpointPool.close", () => {
  it("closes all endpoints once, those that drain too, and opens none afterwards", async () => {
    const { pool, fakes, begin } = setUp("a", "b", "c");
    const [, b, c] = fakes as [FakeEndpoint, FakeEndpoint, FakeEndpoint];
    const drains = begin("b", "c");
    pool.update([b, c]);
    await pool.close();
    drains.end("unknown");
    await pool.close();
    expect(fakes.map(({ closed }) => closed)).toEqual([1, 1, 1]);
    const late = new FakeEndpoint("d");
    pool.update([late]);
    expect(late.opened).toBe(0);
  });

  it("waits for endpoints that are being closed since they drained", async () => {
    const { pool, fakes } = setUp("a", "b");
    const order: string[] = [];
    let finish: () => void = () => undefined;
    const slow: EndpointSource = {
      address: "slow",
      open: () => ({
        ...new FakeEndpoint("slow").open(),
        close: () =>
          new Promise<void>((resolve) => {
            finish = resolve;
          }),
      }),
    };
    pool.update([...fakes, slow]);
    pool.update(fakes);
    const closed = pool.close().then(() => order.push("pool"));
    await Promise.resolve();
    order.push("slow");
    finish();
    await closed;
    expect(order).toEqual(["slow", "pool"]);
  });

  it("does not fail because an endpoint that drained could not be closed", async () => {
    const { pool, fakes } = setUp("a");
    const broken: EndpointSource = {
      address: "broken",
      open: () => ({ ...new FakeEndpoint("broken").open(), close: () => Promise.reject(new Error("stuck")) }),
    };
    pool.update([...fakes, broken]);
    pool.update(fakes);
    await pool.close();
  });

  it("leaves what was picked before to the closed endpoints", async () => {
    const { pool } = setUp("a");
    await pool.close();
    expect(pool.pick(undefined).address).toBe("a");
  });
});

describe("rejects", () => {
  it("closing, when an endpoint cannot be closed", async () => {
    const { pool } = setUp();
    pool.update([
      { address: "broken", open: () => ({ ...new FakeEndpoint("broken").open(), close: () => Promise.reject(new Error("stuck")) }) },
    ]);
    await expect(pool.close()).rejects.toThrow("stuck");
  });
});
