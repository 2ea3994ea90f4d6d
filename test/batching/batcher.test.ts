import { describe, expect, it } from "vitest";
import { Batcher, type BatchLimits, type BatchMember, type Flushed } from "../../src/batching/batcher.js";
import { settled, VirtualSchedule } from "./virtual-schedule.js";

interface Call extends BatchMember {
  readonly name: string;
}

const wide: BatchLimits = { maxRows: 100, maxBytes: 1000, maxDelayMs: 10, maxInFlight: 2, allowedRows: [] };

/** A batcher in virtual time, and the batches it sends, which end by hand. */
function batching(limits: Partial<BatchLimits> = {}) {
  const schedule = new VirtualSchedule();
  const sent: Flushed<Call>[] = [];
  const ends: (() => void)[] = [];
  const idle = { times: 0 };
  const send = (batch: Flushed<Call>) => {
    sent.push(batch);
    return new Promise<void>((resolve) => void ends.push(resolve));
  };
  const batcher = new Batcher<Call>({ ...wide, ...limits }, send, () => void idle.times++, schedule);
  return {
    batcher,
    schedule,
    idle,
    add(name: string, rows = 1, bytes = 0): Call {
      const call = { name, rows, bytes, lastRowBytes: bytes / rows };
      batcher.add(call);
      return call;
    },
    /** Batches since the last look, such as `idle: a b`. */
    sent: () => sent.splice(0).map(({ members, reason }) => `${reason}: ${members.map(({ name }) => name).join(" ")}`),
    startsOfWaits: () => sent.splice(0).map(({ since }) => since),
    /** End the oldest batch in flight, and let what follows from it happen. */
    async finish() {
      ends.shift()?.();
      await settled();
    },
  };
}

/** The same with a batch in flight, and place for one more. */
function busy(limits: Partial<BatchLimits> = {}) {
  const one = batching(limits);
  one.add("first");
  one.schedule.runSoon();
  expect(one.sent()).toEqual(["idle: first"]);
  return one;
}

describe("Batcher", () => {
  it("sends a lone call once the events at hand are dealt with, without a delay", () => {
    const { add, sent, schedule } = batching();
    add("a");
    expect(sent()).toEqual([]);
    schedule.runSoon();
    expect(sent()).toEqual(["idle: a"]);
    expect(schedule.timerCount).toBe(0);
  });

  it("sends calls of one turn together, in the order they came", () => {
    const { add, sent, schedule } = batching();
    for (const name of ["c", "a", "b"]) add(name);
    schedule.runSoon();
    expect(sent()).toEqual(["idle: c a b"]);
  });

  it("sends a full batch at once", () => {
    const { add, sent, schedule } = batching({ maxRows: 4 });
    add("a", 2);
    add("b", 2);
    expect(sent()).toEqual(["full: a b"]);
    schedule.runSoon();
    schedule.advance(1000);
    expect(sent()).toEqual([]);
  });

  it("holds back what came with a full batch", () => {
    const { add, sent, schedule } = batching({ maxRows: 2 });
    for (const name of ["a", "b", "c"]) add(name);
    schedule.runSoon();
    expect(sent()).toEqual(["full: a b"]);
  });

  it("is full by bytes as well", () => {
    const { add, sent } = batching({ maxBytes: 10 });
    add("a", 1, 4);
    add("b", 1, 6);
    expect(sent()).toEqual(["full: a b"]);
  });

  it("is full where padding brings it to the bytes, and takes what stays within them", () => {
    const { add, sent } = batching({ maxBytes: 100, allowedRows: [4, 16] });
    add("a", 3, 30);
    add("b", 1, 10);
    expect(sent()).toEqual([]);
    add("c", 1, 10);
    expect(sent()).toEqual(["full: a b"]);
  });

  it("counts as padding what the last row has", () => {
    const { add, sent } = batching({ maxBytes: 100, allowedRows: [8] });
    add("long", 1, 50);
    expect(sent()).toEqual(["full: long"]);
    const short = batching({ maxBytes: 100, allowedRows: [8] });
    short.add("long and short", 2, 51);
    expect(short.sent()).toEqual(["full: long and short"]);
    const few = batching({ maxBytes: 100, allowedRows: [8] });
    few.batcher.add({ name: "long and short", rows: 2, bytes: 51, lastRowBytes: 1 } as never);
    expect(few.sent()).toEqual([]);
  });

  it("holds calls back while a batch is in flight, up to maxDelayMs after the first came", () => {
    const { add, sent, schedule } = busy();
    add("a");
    schedule.advance(6);
    add("b");
    schedule.runSoon();
    schedule.advance(3);
    expect(sent()).toEqual([]);
    schedule.advance(1);
    expect(sent()).toEqual(["delay: a b"]);
  });

  it("sends what waits as soon as nothing is in flight, once those released have had their turn", async () => {
    const { add, sent, schedule, finish } = busy();
    add("a");
    await finish();
    add("released");
    expect(sent()).toEqual([]);
    schedule.runSoon();
    expect(sent()).toEqual(["idle: a released"]);
    expect(schedule.timerCount).toBe(0);
  });

  it("never has more than maxInFlight batches in flight, however full or late", async () => {
    const { add, sent, schedule, finish } = busy({ maxRows: 2 });
    for (const name of ["a", "b", "c", "d", "e"]) add(name);
    expect(sent()).toEqual(["full: a b"]);
    schedule.advance(1000);
    expect(sent()).toEqual([]);
    await finish();
    expect(sent()).toEqual(["full: c d"]);
    await finish();
    expect(sent()).toEqual(["delay: e"]);
  });

  it("makes larger batches while the server is slow", async () => {
    const { add, sent, schedule, finish } = busy({ maxInFlight: 1 });
    add("a");
    schedule.advance(10);
    add("b");
    schedule.advance(5);
    add("c");
    expect(sent()).toEqual([]);
    await finish();
    expect(sent()).toEqual(["delay: a b c"]);
  });

  it("waits for the events at hand where the first call is not late when a batch ends", async () => {
    const { add, sent, schedule, finish } = busy({ maxInFlight: 1 });
    add("a");
    schedule.advance(9);
    await finish();
    expect(sent()).toEqual([]);
    schedule.runSoon();
    expect(sent()).toEqual(["idle: a"]);
  });

  it("never mixes more rows or bytes than a batch may have, and lets nobody overtake", async () => {
    const { add, sent, schedule, finish } = batching({ maxRows: 4, maxBytes: 100, maxInFlight: 1 });
    add("a", 3);
    add("b", 3);
    add("c", 1);
    add("d", 1, 60);
    add("e", 1, 60);
    expect(sent()).toEqual(["full: a"]);
    await finish();
    expect(sent()).toEqual(["full: b c"]);
    await finish();
    expect(sent()).toEqual(["full: d"]);
    await finish();
    schedule.runSoon();
    expect(sent()).toEqual(["idle: e"]);
  });

  it("sends each call at once where maxDelayMs is 0, as long as there is place", () => {
    const { add, sent } = batching({ maxDelayMs: 0 });
    for (const name of ["a", "b", "c"]) add(name);
    expect(sent()).toEqual(["delay: a", "delay: b"]);
  });

  it("tells since when the first call of a batch has waited", async () => {
    const { add, startsOfWaits, schedule, finish } = busy({ maxRows: 2, maxInFlight: 1 });
    add("a");
    schedule.advance(3);
    for (const name of ["b", "c"]) add(name);
    schedule.advance(4);
    await finish();
    schedule.advance(1);
    await finish();
    schedule.runSoon();
    expect(startsOfWaits()).toEqual([0, 3]);
  });

  it("is idle when nothing waits and nothing is in flight", async () => {
    const { add, idle, schedule, finish, batcher } = busy();
    const second = add("second");
    await finish();
    expect(idle.times).toBe(0);
    schedule.runSoon();
    await finish();
    expect(idle.times).toBe(1);
    batcher.remove(second);
    expect(idle.times).toBe(1);
    batcher.remove(add("third"));
    expect(idle.times).toBe(2);
  });
});

describe("Batcher.remove", () => {
  it("takes a call out wherever it stands, with its rows and bytes", () => {
    const { add, sent, batcher } = batching({ maxRows: 4, maxBytes: 10 });
    add("a");
    const [b, c] = [add("b", 2, 4), add("c", 0, 5)];
    expect([batcher.remove(b), batcher.remove(c)]).toEqual([true, true]);
    add("d", 2, 9);
    expect(sent()).toEqual([]);
    add("e", 1, 1);
    expect(sent()).toEqual(["full: a d e"]);
  });

  it("counts as padding what the last row of those has who still wait", () => {
    const { add, sent, batcher } = batching({ maxBytes: 100, allowedRows: [8] });
    add("short", 1, 2);
    const long: Call = { name: "long", rows: 2, bytes: 14, lastRowBytes: 14 };
    batcher.add(long);
    batcher.remove(long);
    expect(sent()).toEqual([]);
    add("shorter", 1, 1);
    expect(sent()).toEqual([]);
    add("longer", 1, 20);
    expect(sent()).toEqual(["full: short shorter", "full: longer"]);
  });

  it("tells that a call does not wait any more", () => {
    const { add, schedule, batcher } = batching();
    const a = add("a");
    schedule.runSoon();
    expect(batcher.remove(a)).toBe(false);
    expect(batcher.remove({ ...a })).toBe(false);
  });

  it("starts the time of the next call when the first one leaves", () => {
    const { add, sent, schedule, batcher } = busy();
    const a = add("a");
    schedule.advance(6);
    add("b");
    batcher.remove(a);
    schedule.advance(9);
    expect(sent()).toEqual([]);
    schedule.advance(1);
    expect(sent()).toEqual(["delay: b"]);
  });

  it("keeps the time of the first call when another one leaves", () => {
    const { add, sent, schedule, batcher } = busy();
    add("a");
    schedule.advance(6);
    batcher.remove(add("b"));
    schedule.advance(4);
    expect(sent()).toEqual(["delay: a"]);
  });

  it("sends a call that is late already when the one before it leaves", () => {
    const { add, sent, schedule, batcher } = busy();
    // Set before the batcher's own timer, so that it runs before it at the same time.
    schedule.after(10, () => batcher.remove(a));
    const a = add("a");
    add("b");
    schedule.advance(10);
    expect(sent()).toEqual(["delay: b"]);
  });

  it("leaves no timer behind", () => {
    const { add, schedule, batcher, sent } = busy();
    batcher.remove(add("a"));
    expect(schedule.timerCount).toBe(0);
    schedule.runSoon();
    schedule.advance(100);
    expect(sent()).toEqual([]);
  });

  it("lets an idle batcher send nothing", () => {
    const { add, schedule, batcher, sent } = batching();
    batcher.remove(add("a"));
    schedule.runSoon();
    expect(sent()).toEqual([]);
  });
});
