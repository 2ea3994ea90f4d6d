import { describe, expect, it, vi } from "vitest";
import type { RunBatchingOptions } from "../../src/batching/batch-settings.js";
import { type Items, type PredictManyOptions, type PredictOne, predictMany, predictManyDefaults } from "../../src/client/predict-many.js";
import { PredictionClient } from "../../src/client/prediction-client.js";
import { RpcError } from "../../src/errors.js";
import { createInMemoryTransport, servable } from "../../src/server/index.js";
import { type AnyTensor, type Tensor, tensor } from "../../src/tensor/tensor.js";
import type { PredictResult } from "../../src/transport/transport.js";
import { EchoTransport } from "../support/echo-transport.js";
import { errorFrom } from "../support/error-from.js";

/** A call under way, which settles by hand. */
interface Running {
  readonly item: number;
  readonly options: Parameters<PredictOne<number, number>>[1];
  /** Answer ten times the item. */
  finish(): void;
  fail(error: unknown): void;
}

/** How a call shares requests with the others of its run. */
const runningIn = (options: Running["options"] | undefined) => (options?.batching ?? {}) as Partial<RunBatchingOptions>;
const runOf = (options: Running["options"] | undefined) => runningIn(options).run;

/** Everything that follows from settled promises has happened. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Numbers from 0, how many of them were taken, and whether somebody closed the source. */
function counting(limit = Number.POSITIVE_INFINITY) {
  const source = {
    taken: 0,
    closed: 0,
    next() {
      const done = source.taken === limit;
      return done ? { done, value: undefined } : { done, value: source.taken++ };
    },
    return() {
      source.closed++;
      return { done: true as const, value: undefined };
    },
    [Symbol.iterator]: () => source as Iterator<number>,
  };
  return source;
}

/** An iteration whose calls settle by hand, and what it has given out. */
function iterating<OnError extends "throw" | "yield" = "throw">(items: Items<number>, options: PredictManyOptions<OnError> = {}) {
  const running: Running[] = [];
  const predict: PredictOne<number, number> = (item, callOptions) =>
    new Promise((resolve, reject) => {
      callOptions.signal?.addEventListener("abort", () => reject(callOptions.signal?.reason));
      running.push({ item, options: callOptions, finish: () => resolve(10 * item), fail: reject });
    });
  const iteration = predictMany(predict, items, options);
  const given: unknown[] = [];
  return {
    iteration,
    running,
    given,
    /** Settle the calls of these items, and let what follows from it happen. */
    async settle(settle: (call: Running) => void, ...numbers: number[]) {
      for (const number of numbers) settle(running.find(({ item }) => item === number) as Running);
      await settled();
    },
    /** Ask for all items, one after the other. */
    consume: async () => {
      for await (const item of iteration) given.push(item);
      return given;
    },
    items: () => running.map(({ item }) => item),
  };
}

async function everyItem<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = [];
  for await (const item of items) all.push(item);
  return all;
}

const finish = (call: Running) => call.finish();
const results = (...indexes: number[]) => indexes.map((index) => ({ index, result: 10 * index }));

describe("predictMany", () => {
  it("gives results in the order of the items, whatever the order of the answers", async () => {
    const { consume, given, settle } = iterating([0, 1, 2, 3]);
    const done = consume();
    await settled();
    await settle(finish, 2, 1);
    expect(given).toEqual([]);
    await settle(finish, 0);
    expect(given).toEqual(results(0, 1, 2));
    await settle(finish, 3);
    expect(await done).toEqual(results(0, 1, 2, 3));
  });

  it("gives results as they come where order does not matter", async () => {
    const { consume, given, settle } = iterating([0, 1, 2], { ordered: false });
    const done = consume();
    await settled();
    await settle(finish, 2);
    await settle(finish, 0);
    expect(given).toEqual(results(2, 0));
    await settle(finish, 1);
    expect(await done).toEqual(results(2, 0, 1));
  });

  it("takes items from an async iterable", async () => {
    async function* numbers() {
      for (const number of [0, 1, 2]) {
        await settled();
        yield number;
      }
    }
    const predicted = predictMany(async (item: number) => 10 * item, numbers(), {});
    expect(await everyItem(predicted)).toEqual(results(0, 1, 2));
  });

  it("gives nothing for no items", async () => {
    expect(await iterating([]).consume()).toEqual([]);
  });

  it("has no more calls under way than concurrency allows", async () => {
    const { consume, items, settle } = iterating(counting(), { concurrency: 3 });
    void consume();
    await settled();
    expect(items()).toEqual([0, 1, 2]);
    await settle(finish, 1);
    expect(items()).toEqual([0, 1, 2]);
    await settle(finish, 0);
    expect(items()).toEqual([0, 1, 2, 3, 4]);
  });

  it("has the default number of calls under way", async () => {
    const { consume, items } = iterating(counting());
    void consume();
    await settled();
    expect(items()).toHaveLength(predictManyDefaults.concurrency);
  });

  it("takes nothing before the first result is asked for", async () => {
    const source = counting();
    iterating(source);
    await settled();
    expect(source.taken).toBe(0);
  });

  it.each([true, false])("takes no more than may be held while results are not asked for, ordered: %s", async (ordered) => {
    const source = counting();
    const { iteration, running, settle } = iterating(source, { concurrency: 2, ordered });
    const first = iteration.next();
    await settled();
    expect(source.taken).toBe(2);
    await settle(finish, 0);
    expect(await first).toEqual({ done: false, value: { index: 0, result: 0 } });
    for (let round = 0; round < 5; round++) {
      for (const call of running) call.finish();
      await settled();
      // One was given out, and two are kept for the next who asks.
      expect(source.taken).toBe(3);
    }
    expect((await iteration.next()).value).toEqual({ index: 1, result: 10 });
    await settled();
    expect(source.taken).toBe(4);
  });

  it("waits for a slow source without asking it twice", async () => {
    const waiting: ((item: IteratorResult<number, undefined>) => void)[] = [];
    const source = { next: () => new Promise<IteratorResult<number, undefined>>((resolve) => void waiting.push(resolve)) };
    const { consume, items, settle, given } = iterating({ [Symbol.asyncIterator]: () => source }, { concurrency: 4 });
    const done = consume();
    await settled();
    expect(waiting).toHaveLength(1);
    waiting[0]?.({ done: false, value: 0 });
    await settled();
    expect([items(), waiting.length]).toEqual([[0], 2]);
    await settle(finish, 0);
    expect(given).toEqual(results(0));
    waiting[1]?.({ done: true, value: undefined });
    expect(await done).toEqual(results(0));
  });

  it("lets other work go on while all places are taken", async () => {
    const { consume, settle } = iterating([0], { concurrency: 1 });
    const done = consume();
    // Timers run only when the promises have come to rest.
    await new Promise((resolve) => setTimeout(resolve, 1));
    await settle(finish, 0);
    expect(await done).toEqual(results(0));
  });

  it("goes on at startIndex, and counts from the first item all the same", async () => {
    const { consume, settle, items } = iterating([0, 1, 2, 3], { startIndex: 2 });
    const done = consume();
    await settled();
    expect(items()).toEqual([2, 3]);
    await settle(finish, 3, 2);
    expect(await done).toEqual(results(2, 3));
  });

  it("gives nothing where startIndex is beyond the last item", async () => {
    expect(await iterating([0, 1], { startIndex: 5 }).consume()).toEqual([]);
  });

  it("hands the options of a call to each, one run to all, and keeps its own", async () => {
    const metadata = { a: "b" };
    const { consume, running } = iterating([0, 1], { timeoutMs: 5, metadata, batchRows: 16, concurrency: 3, ordered: false });
    void consume();
    await settled();
    const [first, second] = running.map(({ options }) => options);
    const run = { maxBatchRows: 16, maxInFlightBatches: 3, maxDelayMs: 10, maxQueuedRows: Number.MAX_SAFE_INTEGER };
    const batching = { run, onShared: expect.any(Function) };
    expect(first).toEqual({ timeoutMs: 5, metadata, batching, signal: expect.any(AbortSignal) });
    expect(second?.signal).toBe(first?.signal);
    expect(runOf(second)).toBe(runOf(first));
  });

  it("leaves batching to the client where batchRows is not set", async () => {
    const { consume, running } = iterating([0]);
    void consume();
    await settled();
    expect(Object.keys(running[0]?.options ?? {})).toEqual(["signal"]);
  });

  it("takes as many items as requests may be in flight, and more once it knows what part of one they take", async () => {
    const source = counting();
    const { consume, running, settle } = iterating(source, { batchRows: 4, concurrency: 2 });
    void consume();
    await settled();
    expect(source.taken).toBe(2);
    for (const { options } of running) runningIn(options).onShared?.(1 / 4);
    // Those that are taken then count as a whole each.
    await settled();
    expect(source.taken).toBe(4);
    for (const { options } of running) runningIn(options).onShared?.(1 / 4);
    for (const { options } of running) runningIn(options).onShared?.(1 / 4);
    await settled();
    expect(source.taken).toBe(5);
    await settle(finish, 0, 1, 2, 3, 4);
    expect(source.taken).toBe(7);
  });

  it("takes nothing more for what it learns of an item that was given out", async () => {
    const source = counting();
    const { consume, running, settle } = iterating(source, { batchRows: 4, concurrency: 2 });
    void consume();
    await settled();
    await settle(finish, 0);
    expect(source.taken).toBe(3);
    runningIn(running[0]?.options).onShared?.(1 / 4);
    await settled();
    expect(source.taken).toBe(3);
  });
});

describe("predictMany with a failed item", () => {
  const error = new Error("broken");

  it("ends with its error, after the results before it", async () => {
    const source = counting();
    const { consume, given, settle, running } = iterating(source, { concurrency: 4 });
    const done = consume();
    done.catch(() => undefined);
    await settled();
    await settle((call) => call.fail(error), 2);
    await settle(finish, 1, 3);
    expect([given, source.closed]).toEqual([[], 0]);
    await settle(finish, 0);
    await expect(done).rejects.toBe(error);
    expect(given).toEqual(results(0, 1));
    expect(source.closed).toBe(1);
    expect(running.at(-1)?.options.signal?.aborted).toBe(true);
  });

  it("ends at once where order does not matter", async () => {
    const { consume, settle } = iterating(counting(), { ordered: false });
    const done = consume();
    done.catch(() => undefined);
    await settled();
    await settle((call) => call.fail(error), 5);
    await expect(done).rejects.toBe(error);
  });

  it("gives the error out in its place and goes on where errors are yielded", async () => {
    const { consume, settle } = iterating([0, 1, 2, 3], { onError: "yield" });
    const done = consume();
    await settled();
    await settle((call) => call.fail(error), 1);
    await settle((call) => call.fail("text"), 2);
    await settle(finish, 0, 3);
    const text = expect.objectContaining({ message: "text", cause: "text" });
    expect(await done).toEqual([...results(0), { index: 1, error }, { index: 2, error: text }, ...results(3)]);
  });
});

describe("predictMany that ends early", () => {
  it("aborts what is under way and closes the source when the loop is left", async () => {
    const source = counting();
    const { iteration, running, settle } = iterating(source, { concurrency: 3 });
    const loop = (async () => {
      for await (const _ of iteration) break;
    })();
    await settled();
    await settle(finish, 0);
    await loop;
    expect(source.closed).toBe(1);
    expect(running.map(({ options }) => options.signal?.aborted)).toEqual([true, true, true, true]);
    expect(running[0]?.options.signal?.reason).toMatchObject({ message: "the iteration has ended" });
    expect(await iteration.next()).toEqual({ done: true, value: undefined });
    expect(source.taken).toBe(4);
  });

  it("runs the source's own clean-up", async () => {
    let isClosed = false;
    async function* numbers() {
      try {
        for (let number = 0; ; number++) yield number;
      } finally {
        isClosed = true;
      }
    }
    for await (const { index } of predictMany(async (item: number) => item, numbers(), {})) if (index === 20) break;
    expect(isClosed).toBe(true);
  });

  it("waits until the source has cleaned up", async () => {
    let isClosed = false;
    const source = counting();
    const closing = {
      ...source,
      async return() {
        for (let turn = 0; turn < 5; turn++) await settled();
        isClosed = true;
        return { done: true as const, value: undefined };
      },
      [Symbol.iterator]: () => closing as unknown as Iterator<number>,
    };
    for await (const _ of predictMany(async (item: number) => item, closing, {})) break;
    expect(isClosed).toBe(true);
  });

  it("does not wait for an item that may never come, after which a generator would clean up", async () => {
    async function* numbers() {
      yield 0;
      await new Promise(() => undefined);
    }
    const given: number[] = [];
    for await (const { index } of predictMany(async (item: number) => item, numbers(), {})) {
      given.push(index);
      break;
    }
    expect(given).toEqual([0]);
  });

  it("does not open a source of which nothing was asked", async () => {
    const stream = new ReadableStream<number>({ start: (controller) => controller.enqueue(1) });
    const iteration = predictMany(async (item: number) => item, stream as AsyncIterable<number>, {});
    expect(stream.locked).toBe(false);
    await iteration.return();
    expect(stream.locked).toBe(false);
  });

  it("aborts what is under way at once, and takes nothing more, while its consumer is at work", async () => {
    const source = counting();
    const controller = new AbortController();
    const { iteration, running, settle } = iterating(source, { signal: controller.signal, concurrency: 3 });
    const first = iteration.next();
    await settled();
    await settle(finish, 0);
    await first;
    const { taken } = source;
    controller.abort("enough");
    expect(running.map(({ options }) => options.signal?.reason)).toEqual(new Array(taken).fill("enough"));
    await settled();
    expect([source.taken, source.closed]).toEqual([taken, 0]);
    await expect(iteration.next()).rejects.toBe("enough");
    expect(source.closed).toBe(1);
  });

  it("starts no item that the source comes up with afterwards", async () => {
    const waiting: ((item: IteratorResult<number, undefined>) => void)[] = [];
    const source = { next: () => new Promise<IteratorResult<number, undefined>>((resolve) => void waiting.push(resolve)) };
    const controller = new AbortController();
    const { consume, items } = iterating({ [Symbol.asyncIterator]: () => source }, { signal: controller.signal });
    const done = consume();
    await settled();
    controller.abort("enough");
    await expect(done).rejects.toBe("enough");
    waiting[0]?.({ done: false, value: 0 });
    await settled();
    expect([items(), waiting.length]).toEqual([[], 1]);
  });

  it.each([
    [
      "throws",
      () => {
        throw new Error("source cannot end");
      },
    ],
    ["rejects", () => Promise.reject(new Error("source cannot end"))],
  ])("ends as it would where the end of the source %s", async (_what, end) => {
    const source = { ...counting(), return: end, [Symbol.iterator]: () => source } as unknown as Iterable<number>;
    const left = iterating(source);
    const loop = (async () => {
      for await (const _ of left.iteration) break;
    })();
    await settled();
    await left.settle(finish, 0);
    await loop;
    const failed = iterating(source);
    const done = failed.consume();
    done.catch(() => undefined);
    await settled();
    const error = new Error("broken");
    failed.running[0]?.fail(error);
    await expect(done).rejects.toBe(error);
  });

  it("rejects with the reason of the abort and aborts what is under way", async () => {
    const source = counting();
    const controller = new AbortController();
    const reason = new Error("enough");
    const { consume, running } = iterating(source, { signal: controller.signal, onError: "yield" });
    const done = consume();
    done.catch(() => undefined);
    await settled();
    controller.abort(reason);
    await expect(done).rejects.toBe(reason);
    expect(source.closed).toBe(1);
    expect(running.every(({ options }) => options.signal?.aborted === true)).toBe(true);
  });

  it("takes nothing where the signal has aborted before", async () => {
    const source = counting();
    await expect(iterating(source, { signal: AbortSignal.abort("enough") }).consume()).rejects.toBe("enough");
    expect(source.taken).toBe(0);
  });

  it("gives everything out before what the source throws, and does not close it then", async () => {
    const error = new Error("disk is gone");
    const source = {
      ...counting(),
      next: () => {
        if (source.taken === 2) throw error;
        return { done: false, value: source.taken++ };
      },
      [Symbol.iterator]: () => source as unknown as Iterator<number>,
    };
    const { consume, given, settle } = iterating(source);
    const done = consume();
    done.catch(() => undefined);
    await settled();
    await settle(finish, 1);
    await settle(finish, 0);
    await expect(done).rejects.toBe(error);
    expect([given, source.closed]).toEqual([results(0, 1), 0]);
  });
});

/** A model of one row in, one row out, and how many requests it is asked. */
function doubling() {
  const seen = { requests: 0 };
  const spec = { dtype: "float32", shape: [null, 1] } as const;
  const model = servable({
    signatures: { serving_default: { inputs: { x: spec }, outputs: { y: spec } } },
    predict: ({ x }) => {
      seen.requests++;
      return {
        y: tensor(
          "float32",
          x.shape,
          x.values.map((value) => 2 * value),
        ),
      };
    },
  });
  return { seen, transport: createInMemoryTransport({ doubling: model }) };
}

/** A model that answers what it is given, of whatever shape. */
function echoing(): EchoTransport {
  const echo = new EchoTransport();
  const methodName = "tensorflow/serving/predict";
  echo.signatures = { serving_default: { methodName, inputs: { x: { dtype: "float32", shape: null } }, outputs: {} } };
  return echo;
}

const firstValue = ({ outputs }: PredictResult) => (outputs["y"] as Tensor<"float32">).values[0];

describe("client.predictMany", () => {
  const columns = Array.from({ length: 200 }, (_, index) => ({ x: tensor("float32", [1, 1], [index]) }));

  it("makes a request for each item", async () => {
    const { transport, seen } = doubling();
    await using client = new PredictionClient(transport);
    const all = await everyItem(client.predictMany("doubling", columns));
    expect(all.map(({ index, result }) => [index, firstValue(result)])).toEqual(columns.map((_, index) => [index, 2 * index]));
    expect(seen.requests).toBe(200);
  });

  it("makes few requests where batchRows is set", async () => {
    const { transport, seen } = doubling();
    await using client = new PredictionClient(transport);
    const all = await everyItem(client.predictMany("doubling", columns, { batchRows: 50, concurrency: 2 }));
    expect(all.map(({ index, result }) => [index, firstValue(result)])).toEqual(columns.map((_, index) => [index, 2 * index]));
    expect(seen.requests).toBeLessThanOrEqual(20);
  });

  it.each([{ "x-app": "a" }, async () => ({ "x-app": "a" })])("shares requests also with metadata beside the client's", async (own) => {
    const echo = echoing();
    await using client = new PredictionClient(echo, { metadata: own });
    const metadata = { "x-run": "1" };
    await everyItem(client.predictMany("m", columns, { batchRows: 50, concurrency: 2, metadata }));
    expect(echo.predicts.length).toBeLessThanOrEqual(20);
    for (const { options } of echo.predicts) {
      const sent = typeof options.metadata === "function" ? await options.metadata() : options.metadata;
      expect(sent).toEqual({ "x-app": "a", "x-run": "1" });
    }
  });

  it("leaves metadata that may change to each call", async () => {
    const echo = echoing();
    await using client = new PredictionClient(echo, { metadata: { "x-app": "a" } });
    const metadata = { "x-call": "1" };
    await client.predict("m", columns[0] as never, { metadata });
    metadata["x-call"] = "2";
    await client.predict("m", columns[1] as never, { metadata });
    expect(echo.predicts.map(({ options }) => options.metadata)).toMatchObject([{ "x-call": "1" }, { "x-call": "2" }]);
  });

  it.each([
    ["of many kinds", (index: number) => tensor("float32", [1, 1 + (index % 20)], new Array(1 + (index % 20)).fill(index))],
    ["larger than a request may be", (index: number) => tensor("float32", [6, 1], new Array(6).fill(index))],
    ["without rows in common", (index: number) => tensor("float32", [], [index])],
    [
      "of all these",
      (index: number) =>
        tensor("float32", [[1, 1], [1, 3], [6, 1], []][index % 4] as number[], new Array([1, 3, 6, 1][index % 4]).fill(index)),
    ],
  ])("has no more requests in flight than concurrency allows, with items %s", async (_what, itemOf) => {
    const inFlight = { now: 0, most: 0 };
    const echo = echoing();
    const predict = echo.predict.bind(echo);
    echo.predict = async (spec, inputs, options) => {
      inFlight.most = Math.max(inFlight.most, ++inFlight.now);
      await settled();
      inFlight.now--;
      return await predict(spec, inputs, options);
    };
    await using client = new PredictionClient(echo);
    const items = Array.from({ length: 100 }, (_, index) => ({ x: itemOf(index) }));
    const all = await everyItem(client.predictMany("m", items, { batchRows: 5, concurrency: 3 }));
    expect(all.map(({ result }) => [...(result.outputs["x"] as Tensor<"float32">).values])).toEqual(items.map(({ x }) => [...x.values]));
    expect(inFlight.most).toBe(3);
  });

  it("ends items that the server keeps in time, and asks it for the next ones", async () => {
    const echo = echoing();
    echo.gate = new Promise(() => undefined);
    await using client = new PredictionClient(echo);
    const scalars = Array.from({ length: 4 }, (_, index) => ({ x: tensor("float32", [], [index]) }));
    const options = { batchRows: 4, concurrency: 1, timeoutMs: 20, onError: "yield" } as const;
    const all = await everyItem(client.predictMany("m", scalars, options));
    expect(all.map((item) => "error" in item && item.error)).toMatchObject(scalars.map(() => ({ code: "DEADLINE_EXCEEDED" })));
    // On a busy machine the time of some may pass before they are sent.
    expect(echo.predicts.length).toBeGreaterThan(1);
  });

  /** The most items that were taken and not given out, of those after the first ones. */
  async function mostHeld(predict: EchoTransport["predict"], itemOf: (index: number) => AnyTensor) {
    const echo = echoing();
    echo.predict = async (spec, inputs, options) => {
      echo.predicts.push({ inputs, options });
      await settled();
      return predict(spec, inputs, options);
    };
    await using client = new PredictionClient(echo);
    const source = counting(100);
    function* items() {
      for (const index of source) yield { x: itemOf(index) };
    }
    let most = 0;
    for await (const { index } of client.predictMany("m", items(), { batchRows: 4, concurrency: 2 })) {
      // That one counts as held no more.
      if (index >= 20) most = Math.max(most, source.taken - index - 1);
    }
    return { most, requests: echo.predicts.length };
  }

  const echoed = echoing();
  const byRow: EchoTransport["predict"] = (spec, inputs, options) => echoed.predict(spec, inputs, options);
  const asOne: EchoTransport["predict"] = async (spec, { x }) => ({
    outputs: { x: tensor("float32", [1], [x?.shape[0] ?? 1]) },
    modelSpec: { name: spec.name, signatureName: "serving_default" },
  });

  it("holds the items of as many full requests as may be in flight", async () => {
    const { most, requests } = await mostHeld(byRow, (index) => tensor("float32", [1, 1], [index]));
    expect([most, requests < 35]).toEqual([8, true]);
  });

  it.each([
    ["that fill one each", byRow, () => tensor("float32", [4, 1], [1, 2, 3, 4])],
    ["that are larger than one", byRow, () => tensor("float32", [5, 1], [1, 2, 3, 4, 5])],
    ["that cannot share one", byRow, (index: number) => tensor("float32", [], [index])],
    ["of a model that does not answer row by row", asOne, (index: number) => tensor("float32", [1, 1], [index])],
  ])("holds no more items than requests may be in flight %s, so that none waits for its turn", async (_what, predict, itemOf) => {
    const warned = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
    expect((await mostHeld(predict, itemOf)).most).toBe(2);
    warned.mockRestore();
  });

  it("lets items of one kind share requests also where one may be in flight, and items come slowly", async () => {
    const echo = echoing();
    await using client = new PredictionClient(echo);
    async function* items() {
      for (const column of columns) {
        await Promise.resolve();
        yield column;
      }
    }
    await everyItem(client.predictMany("m", items(), { batchRows: 50, concurrency: 1 }));
    expect(echo.predicts.length).toBeLessThanOrEqual(20);
  });

  it("works on a model of the client, with plain values", async () => {
    const { transport, seen } = doubling();
    await using client = new PredictionClient(transport);
    const model = client.model("doubling");
    const plain = columns.slice(0, 40).map((_, index) => [[index]]);
    const all = await everyItem(model.predictMany(plain, { batchRows: 10, signatureName: "serving_default" }));
    expect(all.map(({ result }) => firstValue(result))).toEqual(plain.map((_, index) => 2 * index));
    expect(seen.requests).toBeLessThanOrEqual(10);
  });

  it("names the call in the error of an item", async () => {
    await using client = new PredictionClient(doubling().transport);
    const all = await everyItem(client.predictMany("doubling", [[[1]], [["a"]]] as never, { onError: "yield" }));
    expect(all).toMatchObject([
      { index: 0, result: {} },
      { index: 1, error: { name: "SignatureError", code: "INVALID_ARGUMENT" } },
    ]);
  });

  it("ends what is under way when the client is closed by force", async () => {
    const echo = new EchoTransport();
    echo.gate = new Promise(() => undefined);
    const client = new PredictionClient(echo);
    const done = everyItem(client.predictMany("m", [{ x: tensor("float32", [1], [1]) }]));
    done.catch(() => undefined);
    await settled();
    await client.close({ force: true });
    await expect(done).rejects.toMatchObject({ code: "CANCELLED" });
  });

  it("fails an item with the server's error", async () => {
    const echo = new EchoTransport();
    echo.refusal = "NOT_FOUND";
    await using client = new PredictionClient(echo);
    const failed = everyItem(client.predictMany("m", [{ x: tensor("float32", [1], [1]) }]));
    await expect(failed).rejects.toBeInstanceOf(RpcError);
  });
});

describe("rejects", () => {
  const start = (items: unknown, options: unknown = {}) =>
    errorFrom(() => predictMany(async (item: number) => item, items as number[], options as PredictManyOptions));

  it.each([
    [{ concurrency: 0 }, RangeError, "concurrency: expected a whole number from 1 up, got 0"],
    [{ concurrency: 1.5 }, RangeError, "concurrency: expected a whole number from 1 up, got 1.5"],
    [{ concurrency: "2" }, TypeError, 'concurrency: expected a number, got "2"'],
    [{ batchRows: 0 }, RangeError, "batchRows: expected a whole number from 1 up, got 0"],
    [{ batchRows: Number.POSITIVE_INFINITY }, RangeError, "batchRows: expected a whole number from 1 up, got Infinity"],
    [{ startIndex: -1 }, RangeError, "startIndex: expected a whole number from 0 up, got -1"],
    [{ startIndex: Number.NaN }, RangeError, "startIndex: expected a whole number from 0 up, got NaN"],
    [{ ordered: "no" }, TypeError, 'ordered: expected a boolean, got "no"'],
    [{ onError: "ignore" }, TypeError, 'onError: expected "throw" or "yield", got "ignore"'],
    [{ timeoutMs: 0 }, RangeError, "timeoutMs: expected a positive, finite number of milliseconds, got 0"],
    [{ signal: "now" }, TypeError, 'signal: expected an AbortSignal, got "now"'],
    [{ outputFilter: "y" }, TypeError, 'outputFilter: expected an array of names, got "y"'],
    [null, TypeError, "options: expected an object, got null"],
  ])("options %o", (options, kind, message) => {
    expect(start([], options)).toBeInstanceOf(kind);
    expect(start([], options)).toMatchObject({ message });
  });

  it.each([
    ["an object", {}],
    ["a number", 3],
    ["nothing", undefined],
    ["null", null],
    ["text, which has letters", "text"],
    ["a tensor", tensor("float32", [1], [1])],
  ])("%s as items", (_what, items) => {
    expect(start(items)).toBeInstanceOf(TypeError);
    expect(start(items)).toMatchObject({
      message: expect.stringMatching(/^inputs: expected an iterable or async iterable of inputs, got /),
    });
  });

  it("a model that is none, before anything is asked for", () => {
    expect(() => new PredictionClient(new EchoTransport()).predictMany({ name: "" }, [])).toThrow(TypeError);
  });
});
