import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ClientOptions } from "../../src/client/options.js";
import { PredictionClient } from "../../src/client/prediction-client.js";
import { ServingError } from "../../src/errors.js";
import { type ModelServer, servable, startModelServer } from "../../src/server/index.js";
import { type Tensor, tensor } from "../../src/tensor/tensor.js";
import type { BatchEvent, BatchingOptions, PredictResult } from "../../src/transport/transport.js";
import { EchoTransport } from "../support/echo-transport.js";
import { errorFrom } from "../support/error-from.js";

const pairs = { dtype: "float32", shape: [null, 2] } as const;
const words = { dtype: "string", shape: [null] } as const;

const models = {
  tenfold: servable({
    signatures: { serving_default: { inputs: { x: pairs }, outputs: { y: pairs } } },
    predict: ({ x }) => {
      if (x.values.some((value) => value < 0)) throw new ServingError("negative value", { code: "INVALID_ARGUMENT" });
      return {
        y: tensor(
          "float32",
          x.shape,
          x.values.map((value) => 10 * value),
        ),
      };
    },
  }),
  shout: servable({
    signatures: { serving_default: { inputs: { text: words }, outputs: { loud: words } } },
    predict: ({ text }) => ({ loud: text.strings().map((word) => word.toUpperCase()) }),
  }),
  total: servable({
    signatures: { serving_default: { inputs: { x: pairs }, outputs: { y: { dtype: "float32", shape: [] } } } },
    predict: ({ x }) => ({ y: x.values.reduce((sum, value) => sum + value, 0) }),
  }),
};

let server: ModelServer;
beforeEach(async () => {
  server = await startModelServer({ models });
});
afterEach(async () => {
  vi.restoreAllMocks();
  await server.close();
});

/** The predict requests that reached the server. */
const predicts = () => server.requests.filter(({ method }) => method === "predict");
/** A row of two values that stand for a caller. */
const row = (index: number) => ({ x: tensor("float32", [1, 2], [index, index + 0.5]) });
const valuesOf = ({ outputs }: PredictResult, name = "y") => [...(outputs[name] as Tensor<"float32">).values];
const indexes = (count: number) => Array.from({ length: count }, (_, index) => index);

describe.each(["grpc", "rest"] as const)("batching over %s", (transport) => {
  const connect = (options: ClientOptions = {}) =>
    new PredictionClient(transport === "grpc" ? server.grpcTarget : server.restTarget, options);

  it("gives many callers their own answers out of few requests", async () => {
    await using client = connect({ batching: {} });
    const results = await Promise.all(indexes(200).map((index) => client.predict("tenfold", row(index))));
    expect(results.map((result) => valuesOf(result))).toEqual(indexes(200).map((index) => [10 * index, 10 * index + 5]));
    for (const { outputs, modelSpec } of results) {
      expect(outputs["y"]?.shape).toEqual([1, 2]);
      expect(modelSpec).toMatchObject({ name: "tenfold", signatureName: "serving_default" });
    }
    expect(new Set(results.map(({ outputs }) => (outputs["y"] as Tensor<"float32">).values.buffer)).size).toBe(200);
    expect(predicts().length).toBeLessThanOrEqual(10);
  });

  it("makes a request of every call without the option", async () => {
    await using client = connect();
    await Promise.all(indexes(20).map((index) => client.predict("tenfold", row(index))));
    expect(predicts()).toHaveLength(20);
  });

  it("deals out strings", async () => {
    await using client = connect({ batching: {} });
    const texts = indexes(60).map((index) => Array.from({ length: (index % 3) + 1 }, (_, at) => `wörd ${index}.${at}`));
    const results = await Promise.all(texts.map((text) => client.predict("shout", { text: tensor("string", [text.length], text) })));
    expect(results.map(({ outputs }) => outputs["loud"]?.strings())).toEqual(texts.map((text) => text.map((word) => word.toUpperCase())));
    expect(predicts().length).toBeLessThanOrEqual(10);
  });

  it("fails only the caller of a bad row", async () => {
    const events: BatchEvent[] = [];
    await using client = connect({ batching: { onBatch: (event) => void events.push(event) } });
    const values = indexes(16).map((index) => (index === 5 ? -1 : index));
    const results = await Promise.allSettled(values.map((value) => client.predict("tenfold", row(value))));
    expect(results.map(({ status }) => status === "fulfilled")).toEqual(values.map((value) => value >= 0));
    results.forEach((result, index) => {
      if (result.status === "fulfilled") expect(valuesOf(result.value)).toEqual([10 * index, 10 * index + 5]);
      else
        expect(result.reason).toMatchObject({
          name: "RpcError",
          code: "INVALID_ARGUMENT",
          transport,
          serverMessage: expect.stringContaining("negative value"),
        });
    });
    await vi.waitFor(() => expect(events.reduce((sum, { calls }) => sum + calls, 0)).toBe(16));
    expect(events.reduce((sum, { requests }) => sum + requests, 0)).toBe(predicts().length);
  });

  it("takes plain values, and checks each call before it has a part in a batch", async () => {
    await using client = connect({ batching: {} });
    const outcomes = [client.predict("tenfold", [[1, 2]]), client.predict("tenfold", [["a"]]), client.predict("tenfold", { x: [[3, 4]] })];
    const results = await Promise.allSettled(outcomes);
    expect(results.map((result) => (result.status === "fulfilled" ? valuesOf(result.value) : result.reason.name))).toEqual([
      [10, 20],
      "SignatureError",
      [30, 40],
    ]);
  });

  it("can be a model's own, and differ from the client's", async () => {
    const told: string[] = [];
    await using client = connect({ batching: { onBatch: () => void told.push("client") } });
    const own = client.model("tenfold", { batching: { maxBatchRows: 5, onBatch: ({ rows }) => void told.push(`model: ${rows}`) } });
    await Promise.all(indexes(10).map((index) => own.predict(row(index))));
    await vi.waitFor(() => expect(told).toEqual(["model: 5", "model: 5"]));
    await client.model("tenfold").predict(row(1));
    await vi.waitFor(() => expect(told.at(-1)).toBe("client"));

    await using unbatched = connect();
    const before = predicts().length;
    const batched = unbatched.model("tenfold", { batching: {} });
    const results = await Promise.all(indexes(50).map((index) => batched.predict(row(index))));
    expect(results.map((result) => valuesOf(result)[0])).toEqual(indexes(50).map((index) => 10 * index));
    expect(predicts().length - before).toBeLessThanOrEqual(5);
  });

  it("is left by a call with batch: false", async () => {
    const events: BatchEvent[] = [];
    await using client = connect({ batching: { onBatch: (event) => void events.push(event) } });
    const results = await Promise.all(indexes(10).map((index) => client.predict("tenfold", row(index), { batch: false })));
    expect(results.map((result) => valuesOf(result)[0])).toEqual(indexes(10).map((index) => 10 * index));
    await client.model("tenfold").predict(row(1), { batch: false });
    expect([predicts().length, events]).toEqual([11, []]);
  });

  it("shares requests where the client's metadata is an object or a function, which is asked once a request", async () => {
    let asked = 0;
    const metadata = async () => {
      asked++;
      return { "x-token": "secret" };
    };
    for (const own of [metadata, { "x-token": "secret" }]) {
      await using client = connect({ batching: {}, metadata: own, check: false });
      const before = predicts().length;
      await Promise.all(indexes(50).map((index) => client.predict("tenfold", row(index))));
      const requests = predicts().slice(before);
      expect(requests.length).toBeLessThanOrEqual(5);
      for (const request of requests) expect(request.metadata["x-token"]).toBe("secret");
    }
    expect(asked).toBeLessThanOrEqual(6);
  });

  it("shares no request between calls with metadata of their own", async () => {
    await using client = connect({ batching: {} });
    const users = indexes(10).map((index) => `user ${index}`);
    await Promise.all(users.map((user, index) => client.predict("tenfold", row(index), { metadata: { "x-user": user } })));
    expect(predicts().map(({ metadata }) => metadata["x-user"])).toEqual(expect.arrayContaining(users));
    expect(predicts()).toHaveLength(10);
  });

  it("turns itself off for a model that does not answer row by row", async () => {
    const warnings = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
    await using client = connect({ batching: {} });
    for (let round = 0; round < 2; round++) {
      const results = await Promise.all(indexes(10).map((index) => client.predict("total", row(index))));
      expect(results.map((result) => valuesOf(result)[0])).toEqual(indexes(10).map((index) => 2 * index + 0.5));
    }
    expect(warnings.mock.calls.map(([text]) => text)).toEqual([
      expect.stringMatching(/^batching is off for total, signature serving_default/),
    ]);
  });

  it("fills requests up to the allowed sizes", async () => {
    const events: BatchEvent[] = [];
    const options = { allowedBatchRows: [8, 32], onBatch: (event: BatchEvent) => void events.push(event) };
    await using client = connect({ batching: options });
    const results = await Promise.all(indexes(50).map((index) => client.predict("tenfold", row(index))));
    expect(results.map((result) => valuesOf(result)[0])).toEqual(indexes(50).map((index) => 10 * index));
    await vi.waitFor(() => expect(events.reduce((sum, { rows }) => sum + rows, 0)).toBe(50));
    for (const { rows, paddingRows } of events) expect([8, 32]).toContain(rows + paddingRows);
  });

  it("answers a call without rows itself where the signature is known", async () => {
    await using client = connect({ batching: {} });
    const { outputs } = await client.model("tenfold").predict(tensor("float32", [0, 2], []));
    expect(outputs["y"]).toMatchObject({ dtype: "float32", shape: [0, 2] });
    expect(predicts()).toEqual([]);
  });

  it("fails no call of which only the batch's answer is larger than maxResponseBytes, and makes later batches smaller", async () => {
    await using client = connect({ maxResponseBytes: 2000, batching: { maxBatchRows: 512 } });
    const requests: number[] = [];
    for (let round = 0; round < 2; round++) {
      const before = predicts().length;
      const results = await Promise.all(indexes(512).map((index) => client.predict("tenfold", row(index))));
      expect(results.map((result) => valuesOf(result)[0])).toEqual(indexes(512).map((index) => 10 * index));
      requests.push(predicts().length - before);
    }
    const [first = 0, second = 0] = requests;
    expect([first > second, second <= 40]).toEqual([true, true]);
  });

  it("names the server in the errors of its own queue", async () => {
    await using client = connect({ batching: { maxQueuedRows: 10 } });
    const results = await Promise.allSettled(indexes(30).map((index) => client.predict("tenfold", row(index))));
    const full = results.flatMap((result) => (result.status === "rejected" ? [result.reason] : []));
    expect(full.length).toBeGreaterThan(0);
    const endpoint = transport === "grpc" ? server.grpcTarget : new URL(server.restTarget).host;
    for (const error of full) expect(error).toMatchObject({ name: "RpcError", code: "RESOURCE_EXHAUSTED", transport, endpoint });
  });

  it("sends again once what the server could not take, for all callers", async () => {
    server.faults.add({ match: { method: "predict" }, code: "UNAVAILABLE", times: 1 });
    await using client = connect({ batching: {} });
    const results = await Promise.all(indexes(40).map((index) => client.predict("tenfold", row(index))));
    expect(results.map((result) => valuesOf(result)[0])).toEqual(indexes(40).map((index) => 10 * index));
    expect(predicts().length).toBeLessThanOrEqual(5);
  });

  it("is waited for when the client is closed", async () => {
    const client = connect({ batching: {} });
    const outcomes = indexes(20).map((index) => client.predict("tenfold", row(index)));
    await client.close();
    expect((await Promise.all(outcomes)).map((result) => valuesOf(result)[0])).toEqual(indexes(20).map((index) => 10 * index));
  });
});

describe("rejects", () => {
  const kinds: [BatchingOptions, typeof TypeError | typeof RangeError, string][] = [
    [{ maxBatchRows: 0 }, RangeError, "batching.maxBatchRows: expected a whole number from 1 up, got 0"],
    [{ maxBatchRows: 1.5 }, RangeError, "batching.maxBatchRows: expected a whole number from 1 up, got 1.5"],
    [{ maxBatchRows: "8" as never }, TypeError, 'batching.maxBatchRows: expected a number, got "8"'],
    [{ maxDelayMs: -1 }, RangeError, "batching.maxDelayMs: expected a positive, finite number of milliseconds, got -1"],
    [{ maxDelayMs: Number.NaN }, RangeError, "batching.maxDelayMs: expected a positive, finite number of milliseconds, got NaN"],
    [{ maxBatchBytes: 0 }, RangeError, "batching.maxBatchBytes: expected a whole number from 1 up, got 0"],
    [{ maxQueuedRows: Number.POSITIVE_INFINITY }, RangeError, "batching.maxQueuedRows: expected a whole number from 1 up, got Infinity"],
    [{ maxInFlightBatches: 0 }, RangeError, "batching.maxInFlightBatches: expected a whole number from 1 up, got 0"],
    [{ allowedBatchRows: [] }, TypeError, "batching.allowedBatchRows: expected an array of at least one number"],
    [{ allowedBatchRows: 8 as never }, TypeError, "batching.allowedBatchRows: expected an array of at least one number, got 8"],
    [{ allowedBatchRows: [8, 0] }, RangeError, "batching.allowedBatchRows[1]: expected a whole number from 1 up, got 0"],
    [
      { allowedBatchRows: [8, 4], maxBatchRows: 9 },
      RangeError,
      "batching.maxBatchRows: expected at most 8, the largest of allowedBatchRows, got 9",
    ],
    [{ onBatch: {} as never }, TypeError, "batching.onBatch: expected a function"],
    [{ maxBatchSize: 8 } as never, TypeError, "maxBatchSize"],
    [true as never, TypeError, "batching: expected an object, got true"],
    [null as never, TypeError, "batching: expected an object, got null"],
    [[] as never, TypeError, "batching: expected an object"],
  ];

  it.each(kinds)("batching %o, of a client and of a model", (batching, kind, message) => {
    const errors = [
      errorFrom(() => new PredictionClient(new EchoTransport(), { batching })),
      errorFrom(() => new PredictionClient(new EchoTransport()).model("m", { batching })),
    ];
    for (const error of errors) {
      expect(error).toBeInstanceOf(kind);
      expect(error).toMatchObject({ message: expect.stringContaining(message) });
    }
  });

  it("batch: true, which would say nothing of how", async () => {
    const client = new PredictionClient(new EchoTransport(), { batching: {} });
    await expect(client.predict("m", row(1), { batch: true as never })).rejects.toThrow("batch: expected false, got true");
  });

  it("nothing that is no more than unusual", () => {
    const batching = { maxDelayMs: 0, maxBatchRows: 2, allowedBatchRows: [4, 2, 4] };
    expect(() => new PredictionClient(new EchoTransport(), { batching })).not.toThrow();
  });
});

describe("a server that tells no signatures", () => {
  const asked = () => server.requests.filter(({ method }) => method === "getModelMetadata").length;

  it("is asked once, and calls of tensors share requests all the same", async () => {
    server.faults.add({ match: { method: "getModelMetadata" }, code: "UNIMPLEMENTED" });
    await using client = new PredictionClient(server.grpcTarget, { batching: {} });
    await client.predict("tenfold", row(0));
    const results = await Promise.all(indexes(20).map((index) => client.predict("tenfold", row(index))));
    expect(results.map((result) => valuesOf(result)[0])).toEqual(indexes(20).map((index) => 10 * index));
    expect([asked(), predicts().length < 10]).toEqual([1, true]);
  });

  it("is asked again where it did not know one model, for the others", async () => {
    await using client = new PredictionClient(server.grpcTarget, { batching: {} });
    await expect(client.predict("unknown", row(0))).rejects.toMatchObject({ code: "NOT_FOUND" });
    const before = asked();
    await client.predict("tenfold", row(0));
    expect(asked()).toBe(before + 1);
  });
});
