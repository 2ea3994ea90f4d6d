import { isNativeError } from "node:util/types";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { RunBatchingOptions } from "../../src/batching/batch-settings.js";
import { withBatching } from "../../src/batching/batching-transport.js";
import { checkBatching } from "../../src/client/options.js";
import { isServingError, RpcError, TensorError } from "../../src/errors.js";
import type { Signature, TensorSpec } from "../../src/signature.js";
import { type Tensor, tensor } from "../../src/tensor/tensor.js";
import type { BatchEvent, BatchingOptions, TensorMap, TransportPredictOptions } from "../../src/transport/transport.js";
import { EchoTransport } from "../support/echo-transport.js";
import { answerOf, batchingByHand, column, type SentRequest, serverError } from "./hand-transport.js";
import { settled } from "./virtual-schedule.js";

// Deadlines and delays are real timers.
beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

/** Warnings of the process instead of their printing. */
function collectWarnings(): unknown[][] {
  const warnings: unknown[][] = [];
  vi.spyOn(process, "emitWarning").mockImplementation((...args: unknown[]) => void warnings.push(args));
  return warnings;
}

/** A signature with these outputs. */
const signatureWith = (outputs: Record<string, TensorSpec>, inputs: Record<string, TensorSpec> = {}): Signature => ({
  methodName: "tensorflow/serving/predict",
  inputs,
  outputs,
});

/** With one request in flight that is not looked at, so that others wait. */
async function busy(batching: BatchingOptions = {}) {
  const one = batchingByHand(batching);
  const first = one.call([0]);
  const [blocker] = (await one.requests()) as [SentRequest];
  return { ...one, first, blocker };
}

describe("withBatching", () => {
  it("sends the rows of several callers as one request and gives each its own", async () => {
    const { call, requests } = batchingByHand();
    const outcomes = [call([1, 2]), call([3]), call([4, 5, 6])];
    const [request, ...others] = await requests();
    expect(others).toEqual([]);
    expect(request?.spec).toEqual({ name: "m" });
    expect(request?.inputs["x"]).toMatchObject({ dtype: "float32", shape: [6, 1], values: Float32Array.of(1, 2, 3, 4, 5, 6) });
    request?.answer();
    const results = await Promise.all(outcomes);
    expect(results.map(answerOf)).toEqual([[10, 20], [30], [40, 50, 60]]);
    expect(results.map(({ outputs }) => outputs["y"]?.shape)).toEqual([
      [2, 1],
      [1, 1],
      [3, 1],
    ]);
    for (const { outputs, modelSpec } of results) {
      expect(Object.getPrototypeOf(outputs)).toBeNull();
      expect(modelSpec).toEqual({ name: "m", version: 7n, signatureName: "serving_default" });
    }
  });

  it("deals out strings and several outputs", async () => {
    const { call, requests } = batchingByHand();
    const outcomes = [call([1]), call([2, 3])];
    const [request] = await requests();
    request?.answer({ label: tensor("string", [3], ["a", "b", "c"]), score: tensor("int64", [3, 2], [1, 2, 3, 4, 5, 6]) });
    const [one, two] = await Promise.all(outcomes);
    expect([one?.outputs["label"]?.strings(), two?.outputs["label"]?.strings()]).toEqual([["a"], ["b", "c"]]);
    expect([one?.outputs["score"]?.values, two?.outputs["score"]?.values]).toEqual([
      BigInt64Array.of(1n, 2n),
      BigInt64Array.of(3n, 4n, 5n, 6n),
    ]);
  });

  it("gives every caller memory of its own", async () => {
    const { call, requests } = batchingByHand();
    const outcomes = [call([1]), call([2]), call([3])];
    const [request] = await requests();
    const answer = { y: column(10, 20, 30), s: tensor("string", [3], ["a", "b", "c"]) };
    request?.answer(answer);
    const results = await Promise.all(outcomes);
    const own = results.map(({ outputs }) => outputs["y"] as Tensor<"float32">);
    expect(new Set([answer.y, ...own].map(({ values }) => values.buffer)).size).toBe(4);
    own[1]?.values.fill(-1);
    const strings = results[1]?.outputs["s"] as Tensor<"string">;
    strings.values.fill(Uint8Array.of(0));
    Object.assign(results[1]?.modelSpec ?? {}, { name: "changed" });
    expect([own[0]?.values, own[2]?.values]).toEqual([Float32Array.of(10), Float32Array.of(30)]);
    expect([results[0], results[2]].map((result) => result?.outputs["s"]?.strings())).toEqual([["a"], ["c"]]);
    expect(results[0]?.modelSpec.name).toBe("m");
  });

  it("gives every caller strings of its own, also where the answer has one memory for many", async () => {
    const { call, requests } = batchingByHand();
    const outcomes = [call([1]), call([2])];
    const [request] = await requests();
    const text = new TextEncoder().encode("a");
    // A Buffer's own `slice` makes a view.
    request?.answer({ s: tensor("string", [2, 2], [text, text, Buffer.from(text.buffer), text]) });
    const results = await Promise.all(outcomes);
    const own = results.flatMap(({ outputs }) => (outputs["s"] as Tensor<"string">).values);
    expect(new Set([text.buffer, ...own.map(({ buffer }) => buffer)]).size).toBe(5);
    own[0]?.fill(0);
    expect(own.slice(1)).toEqual([text, text, text].map((value) => Uint8Array.from(value)));
  });

  it("gives a lone caller the answer as it came", async () => {
    const { call, requests } = batchingByHand();
    const outcome = call([1, 2]);
    const [request] = await requests();
    const y = tensor("float32", [], [1]);
    request?.answer({ y });
    expect((await outcome).outputs["y"]).toBe(y);
  });

  it("waits for others while requests are in flight, up to maxDelayMs", async () => {
    const { call, columns } = await busy({ maxDelayMs: 5 });
    void call([1]);
    await vi.advanceTimersByTimeAsync(4);
    void call([2]);
    expect(await columns()).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(await columns()).toEqual([[1, 2]]);
  });

  it("waits as long as timers reach where maxDelayMs is longer", async () => {
    const { call, columns, blocker } = await busy({ maxDelayMs: 1e12 });
    void call([1]);
    await vi.advanceTimersByTimeAsync(100_000);
    expect(await columns()).toEqual([]);
    blocker.answer();
    expect(await columns()).toEqual([[1]]);
  });

  it("sends with the latest deadline, a signal of its own and what the callers have in common", async () => {
    const { call, requests } = batchingByHand();
    const now = performance.now();
    const metadata = { a: "b" };
    const common = { metadata, retry: false, outputFilter: ["y"], restFormat: "row" } as const;
    const { signal } = new AbortController();
    void call([1], { ...common, deadline: now + 1000 });
    void call([2], { ...common, deadline: now + 3000, signal });
    void call([3], { ...common, deadline: now + 2000 });
    const [request] = await requests();
    expect(request?.options).toMatchObject({ ...common, deadline: now + 3000, batch: false });
    expect(request?.options.metadata).toBe(metadata);
    expect(request?.options.signal).not.toBe(signal);
  });

  it("leaves every other method to the transport below, and answers for needsSignature as it does", async () => {
    const next = new EchoTransport(true);
    const transport = withBatching({ ...next, close: () => next.close() } as never, { endpoint: "", transport: "custom" });
    expect(transport.needsSignature).toBe(true);
    await transport.close();
    expect(next.closed).toBe(1);
  });
});

type SharedCase = [what: string, a: Partial<TransportPredictOptions>, b: Partial<TransportPredictOptions>];
const token = async () => ({ authorization: "token" });
const metadata = { a: "b" };

describe("calls share a request", () => {
  it.each<SharedCase>([
    ["no output filter and an empty one", {}, { outputFilter: [] }],
    ["the same output filter", { outputFilter: ["y"] }, { outputFilter: ["y"] }],
    ["the same metadata object", { metadata }, { metadata }],
    ["the same function that makes metadata", { metadata: token }, { metadata: token }],
    ["different deadlines and signals", { deadline: 1e8 }, { deadline: 2e8, signal: new AbortController().signal }],
    ["retry: false of both", { retry: false }, { retry: false }],
  ])("with %s", async (_what, a, b) => {
    const { call, columns } = batchingByHand();
    void call([1], a);
    void call([2], b);
    expect(await columns()).toEqual([[1, 2]]);
  });

  it.each([
    [{ name: "m" }, { name: "m", signatureName: "serving_default" }],
    [
      { name: "m", version: 3 },
      { name: "m", version: 3n },
    ],
    [
      { name: "m", versionLabel: "stable", signatureName: "s" },
      { name: "m", versionLabel: "stable", signatureName: "s" },
    ],
  ])("for %o and %o", async (a, b) => {
    const { call, columns } = batchingByHand();
    void call([1], {}, a);
    void call([2], {}, b);
    expect(await columns()).toEqual([[1, 2]]);
  });

  it("whatever the order of their inputs", async () => {
    const { call, requests } = batchingByHand();
    void call({ x: column(1), z: column(2) });
    void call({ z: column(4), x: column(3) });
    const [request, ...others] = await requests();
    expect(others).toEqual([]);
    expect([request?.inputs["x"]?.values, request?.inputs["z"]?.values]).toEqual([Float32Array.of(1, 3), Float32Array.of(2, 4)]);
  });

  it("also where an input has the name of a property all objects have", async () => {
    const { call, requests } = batchingByHand();
    for (const value of [1, 2]) void call(JSON.parse('{"__proto__":0}', (key, old) => (key === "__proto__" ? column(value) : old)));
    const [request] = await requests();
    expect(Object.entries(request?.inputs ?? {}).map(([name, { values }]) => [name, values])).toEqual([
      ["__proto__", Float32Array.of(1, 2)],
    ]);
  });
});

describe("calls do not share a request", () => {
  it.each<SharedCase>([
    ["output filter", { outputFilter: ["y"] }, { outputFilter: ["z"] }],
    ["number of wanted outputs", { outputFilter: ["y"] }, { outputFilter: ["y", "z"] }],
    ["metadata, even if it says the same", { metadata: { a: "b" } }, { metadata: { a: "b" } }],
    ["metadata, where one has none", { metadata }, {}],
    ["function that makes metadata", { metadata: token }, { metadata: async () => ({}) }],
    ["retry", { retry: false }, {}],
    ["layout of REST bodies", { restFormat: "row" }, { restFormat: "column" }],
    ["batching options", { batch: {} }, { batch: {} }],
  ])("with another %s", async (_what, a, b) => {
    const { call, columns } = batchingByHand();
    void call([1], a);
    void call([2], b);
    expect(await columns()).toEqual([[1], [2]]);
  });

  it.each([
    ["model", { name: "a" }, { name: "b" }],
    ["version", { name: "m", version: 1 }, { name: "m", version: 2 }],
    ["version, where one names none", { name: "m" }, { name: "m", version: 2 }],
    ["version, where one names a label", { name: "m", version: 2 }, { name: "m", versionLabel: "2" }],
    ["label", { name: "m", versionLabel: "a" }, { name: "m", versionLabel: "b" }],
    ["signature", { name: "m", signatureName: "a" }, { name: "m", signatureName: "b" }],
  ])("of another %s", async (_what, a, b) => {
    const { call, requests } = batchingByHand();
    void call([1], {}, a);
    void call([2], {}, b);
    expect((await requests()).map(({ spec }) => spec)).toEqual([a, b]);
  });

  it.each<[string, TensorMap]>([
    ["name", { z: column(2) }],
    ["dtype", { x: tensor("int32", [1, 1], [2]) }],
    ["trailing size", { x: tensor("float32", [1, 2], [2, 3]) }],
    ["rank", { x: tensor("float32", [1], [2]) }],
    ["number", { x: column(2), z: column(3) }],
  ])("with inputs of another %s", async (_what, inputs) => {
    const { call, requests } = batchingByHand();
    void call([1]);
    void call(inputs);
    expect(await requests()).toHaveLength(2);
  });

  it("beyond the rows or bytes of one request", async () => {
    const { call, columns } = batchingByHand({ maxBatchRows: 3, maxBatchBytes: 100, maxInFlightBatches: 9 });
    for (const x of [[1, 2], [3, 4], [5]]) void call(x);
    expect(await columns()).toEqual([
      [1, 2],
      [3, 4, 5],
    ]);
    const bytes = batchingByHand({ maxBatchBytes: 8, maxInFlightBatches: 9 });
    for (const x of [[1], [2], [3]]) void bytes.call(x);
    await vi.advanceTimersByTimeAsync(2);
    expect(await bytes.columns()).toEqual([[1, 2], [3]]);
  });
});

describe("a call that must not share", () => {
  it.each<[string, TensorMap]>([
    ["rows", { x: tensor("float32", [0, 1], []), z: column(1) }],
    ["rows, and come first", { z: column(1), x: tensor("float32", [0, 1], []) }],
    ["no dimension", { x: tensor("float32", [0, 1], []), z: tensor("float32", [], [1]) }],
    ["no dimension, and come first", { z: tensor("float32", [], [1]), x: tensor("float32", [0, 1], []) }],
    ["unequal rows, and come first", { y: column(1), z: column(1, 2), x: tensor("float32", [0, 1], []) }],
  ])("fails where one of its inputs has no rows, though others have %s", async (_what, inputs) => {
    const warnings = collectWarnings();
    const { call, requests } = batchingByHand();
    const signature = signatureWith({ y: { dtype: "float32", shape: [null] } }, { x: { dtype: "float32", shape: [null, 1] } });
    for (const options of [{}, { signature }]) await expect(call(inputs, options)).rejects.toThrow("expected at least one row");
    expect([await requests(), warnings]).toEqual([[], []]);
  });

  it.each<[string, Signature]>([
    ['output "classes"', signatureWith({ classes: { dtype: "string", shape: [2] } })],
    ['output "total"', signatureWith({ y: { dtype: "float32", shape: [null] }, total: { dtype: "float32", shape: [] } })],
    ['input "x"', signatureWith({ y: { dtype: "float32", shape: [null] } }, { x: { dtype: "float32", shape: [1, 1] } })],
  ])("is sent alone where the signature gives %s a fixed number of rows, which is said once", async (what, signature) => {
    const warnings = collectWarnings();
    const { call, columns } = batchingByHand();
    for (const value of [1, 2]) void call([value], { signature });
    expect(await columns()).toEqual([[1], [2]]);
    const text = `batching is off for m, signature serving_default: ${what} has a fixed number of rows in its signature`;
    expect(warnings.map(([warning]) => warning)).toEqual([text]);
  });
});

describe("a call is sent as it is", () => {
  it.each<[string, TensorMap, BatchingOptions]>([
    ["without inputs", {}, {}],
    ["with a scalar", { x: tensor("float32", [], [1]) }, {}],
    ["with a scalar beside rows", { x: column(1), keepProbability: tensor("float32", [], [1]) }, {}],
    ["with inputs of unequal rows", { x: column(1, 2), z: column(1) }, {}],
    ["with more rows than a batch may have", { x: column(1, 2, 3) }, { maxBatchRows: 2 }],
    ["with more rows than allowed", { x: column(1, 2, 3) }, { allowedBatchRows: [1, 2] }],
    ["with more bytes than a batch may have", { x: column(1, 2) }, { maxBatchBytes: 7 }],
    ["with longer strings than a batch may have", { x: tensor("string", [2], ["abcd", "efgh"]) }, { maxBatchBytes: 7 }],
  ])("%s", async (_what, inputs, batching) => {
    const { call, requests, events } = batchingByHand(batching);
    const { signal } = new AbortController();
    const calls = [call(inputs, { signal }), call(inputs)];
    const sent = await requests();
    expect(sent).toHaveLength(2);
    expect(sent[0]?.inputs).toBe(inputs);
    expect(sent[0]?.options.signal).toBe(signal);
    const y = tensor("float32", [], [1]);
    for (const request of sent) request.answer({ y });
    for (const outcome of calls) expect((await outcome).outputs["y"]).toBe(y);
    expect(events).toEqual([]);
  });

  it.each([[{ batch: false as const }], [{ batch: undefined }]])("with %o", async (options) => {
    const { call, columns } = batchingByHand();
    void call([1], options);
    void call([2], options);
    expect(await columns()).toEqual([[1], [2]]);
  });
});

const noRows = { x: tensor("float32", [0, 1], []) };

describe("a call without rows", () => {
  it("is answered from the signature, without a request", async () => {
    const { call, requests } = batchingByHand();
    const signature = signatureWith({ y: { dtype: "float32", shape: [null, 3] }, s: { dtype: "string", shape: [null] } });
    const { outputs, modelSpec } = await call(noRows, { signature }, { name: "m", version: 4 });
    expect(outputs["y"]).toMatchObject({ dtype: "float32", shape: [0, 3], size: 0, values: new Float32Array() });
    expect(outputs["s"]).toMatchObject({ dtype: "string", shape: [0], size: 0, values: [] });
    expect([Object.keys(outputs), Object.getPrototypeOf(outputs)]).toEqual([["y", "s"], null]);
    expect(modelSpec).toEqual({ name: "m", version: 4n, signatureName: "serving_default" });
    expect(await requests()).toEqual([]);
  });

  it("has the outputs that are wanted, and only their shapes need follow from the signature", async () => {
    const { call } = batchingByHand();
    const signature = signatureWith({ y: { dtype: "float32", shape: [null] }, total: { dtype: "float32", shape: [] } });
    const { outputs, modelSpec } = await call(noRows, { signature, outputFilter: ["y"] }, { name: "m", signatureName: "s" });
    expect(Object.keys(outputs)).toEqual(["y"]);
    expect(modelSpec).toEqual({ name: "m", signatureName: "s" });
  });

  it.each<[string, Partial<TransportPredictOptions>]>([
    ["without the signature", {}],
    ["with an output of fixed size", { signature: signatureWith({ y: { dtype: "float32", shape: [1] } }) }],
    ["with a scalar output", { signature: signatureWith({ y: { dtype: "float32", shape: [] } }) }],
    ["with an output of unknown rank", { signature: signatureWith({ y: { dtype: "float32", shape: null } }) }],
    ["with an output of unknown size", { signature: signatureWith({ y: { dtype: "float32", shape: [null, null] } }) }],
    ["with an output that no tensor can be", { signature: signatureWith({ y: { dtype: "variant", shape: [null] } }) }],
    ["for an output there is not", { signature: signatureWith({}), outputFilter: ["constructor"] }],
    [
      "where an input has a fixed number of rows",
      { signature: signatureWith({ y: { dtype: "float32", shape: [null] } }, { x: { dtype: "float32", shape: [5, 1] } }) },
    ],
  ])("is refused %s", async (_what, options) => {
    const { call, requests } = batchingByHand();
    await expect(call(noRows, options)).rejects.toMatchObject({
      name: "TensorError",
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/^INVALID_ARGUMENT: predict m: expected at least one row, got inputs whose dimension 0 is 0/),
      hint: expect.stringContaining("batch: false"),
    });
    expect(await requests()).toEqual([]);
  });

  it("is sent where it asks for a request of its own", async () => {
    const { call, requests } = batchingByHand();
    void call(noRows, { batch: false });
    expect(await requests()).toHaveLength(1);
  });
});

describe("allowedBatchRows", () => {
  it("fills up with the last row to the next allowed size, and drops what it answers", async () => {
    const { call, requests, events } = batchingByHand({ allowedBatchRows: [8, 4, 16] });
    const outcomes = [call([1, 2]), call([3]), call([4, 5])];
    const [request] = await requests();
    expect(request?.inputs["x"]).toMatchObject({ shape: [8, 1], values: Float32Array.of(1, 2, 3, 4, 5, 5, 5, 5) });
    request?.answer();
    expect((await Promise.all(outcomes)).map(answerOf)).toEqual([[10, 20], [30], [40, 50]]);
    await settled();
    expect(events).toMatchObject([{ rows: 5, paddingRows: 3, bytes: 20, calls: 3 }]);
  });

  it("adds nothing to an allowed size", async () => {
    const { call, columns } = batchingByHand({ allowedBatchRows: [2, 4] });
    void call([1, 2]);
    expect(await columns()).toEqual([[1, 2]]);
  });

  it("gives a lone caller its rows alone, in memory of their own", async () => {
    const { call, requests } = batchingByHand({ allowedBatchRows: [4] });
    const outcome = call([1]);
    const [request] = await requests();
    request?.answer();
    const y = (await outcome).outputs["y"] as Tensor<"float32">;
    expect(y).toMatchObject({ shape: [1, 1], values: Float32Array.of(10) });
    expect(y.values.buffer.byteLength).toBe(4);
  });

  it("fills up strings, and every input", async () => {
    const { call, requests } = batchingByHand({ allowedBatchRows: [4] });
    void call({ s: tensor("string", [2], ["a", "b"]), x: tensor("int32", [2, 2], [1, 2, 3, 4]) });
    const [request] = await requests();
    expect(request?.inputs["s"]?.strings()).toEqual(["a", "b", "b", "b"]);
    expect(request?.inputs["x"]).toMatchObject({ shape: [4, 2], values: Int32Array.of(1, 2, 3, 4, 3, 4, 3, 4) });
  });

  it("is the limit of a batch where maxBatchRows is not set", async () => {
    const { call, columns } = batchingByHand({ allowedBatchRows: [2, 4], maxInFlightBatches: 3 });
    for (const x of [[1, 2], [3, 4], [5]]) void call(x);
    await vi.advanceTimersByTimeAsync(2);
    expect(await columns()).toEqual([
      [1, 2, 3, 4],
      [5, 5],
    ]);
  });

  it("fills up calls that share with nobody, too, up to the largest size", async () => {
    const { call, requests, events } = batchingByHand({ allowedBatchRows: [2, 5], maxBatchRows: 3, maxBatchBytes: 16 });
    const outcomes = [call([1, 2, 3, 4]), call({ x: tensor("float32", [1, 8], [1, 2, 3, 4, 5, 6, 7, 8]) }), call([1, 2, 3, 4, 5, 6])];
    const sent = await requests();
    expect(sent.map(({ inputs }) => inputs["x"]?.shape)).toEqual([
      [5, 1],
      [2, 8],
      [6, 1],
    ]);
    for (const request of sent) request.answer();
    expect((await Promise.all(outcomes)).map(({ outputs }) => outputs["y"]?.shape)).toEqual([
      [4, 1],
      [1, 8],
      [6, 1],
    ]);
    await settled();
    expect(events).toMatchObject([
      { calls: 1, rows: 4, paddingRows: 1 },
      { calls: 1, rows: 1, paddingRows: 1 },
    ]);
  });

  it("counts in the bytes of a batch", async () => {
    const { call, columns } = batchingByHand({ allowedBatchRows: [2, 8], maxBatchBytes: 16 });
    for (const x of [[1], [2], [3]]) void call(x);
    await vi.advanceTimersByTimeAsync(2);
    expect(await columns()).toEqual([
      [1, 2],
      [3, 3],
    ]);
  });

  it("may be far more rows than a call has", async () => {
    const { call, requests } = batchingByHand({ allowedBatchRows: [200_000] });
    const outcome = call([1]);
    const [request] = await requests();
    expect(request?.inputs["x"]?.shape).toEqual([200_000, 1]);
    request?.answer();
    expect(answerOf(await outcome)).toEqual([10]);
  });

  it("adds nothing to calls that have no number of rows", async () => {
    const { call, requests } = batchingByHand({ allowedBatchRows: [4] });
    const inputs = { x: column(1, 2), z: column(1) };
    void call(inputs);
    expect((await requests()).map((request) => request.inputs)).toEqual([inputs]);
  });

  it("fills up the parts of a divided batch as well", async () => {
    const { call, requests, columns } = batchingByHand({ allowedBatchRows: [1, 3, 4] });
    for (const x of [[1], [2], [3], [4]]) void call(x);
    const [request] = await requests();
    request?.fail(serverError("INVALID_ARGUMENT"));
    expect(await columns()).toEqual([
      [1, 2, 2],
      [3, 4, 4],
    ]);
  });
});

describe("maxBatchRows between two of allowedBatchRows", () => {
  const between = { maxBatchRows: 10, allowedBatchRows: [16, 8] };

  it("leaves no more rows to a batch than the lower one, with padding", async () => {
    const { call, requests } = batchingByHand({ ...between, maxInFlightBatches: 3 });
    for (const value of ones(12)) void call([value]);
    await vi.advanceTimersByTimeAsync(2);
    expect((await requests()).map(({ inputs }) => inputs["x"]?.shape)).toEqual([
      [8, 1],
      [8, 1],
    ]);
  });

  it("is not found below the smallest, which checkBatching refuses", () => {
    const message = "batching.maxBatchRows: expected at least 8, the smallest of allowedBatchRows, got 7";
    expect(() => checkBatching({ ...between, maxBatchRows: 7 })).toThrow(new RangeError(message));
    expect(() => checkBatching(between)).not.toThrow();
  });

  it("has calls of more rows sent by themselves, with padding to the higher one", async () => {
    const { call, requests } = batchingByHand(between);
    for (const rows of [9, 11]) void call(ones(rows));
    expect((await requests()).map(({ inputs }) => inputs["x"]?.shape)).toEqual([
      [16, 1],
      [16, 1],
    ]);
  });
});

describe("maxBatchBytes with allowedBatchRows", () => {
  const text = (value: string) => ({ s: tensor("string", [1], [value]) });
  const texts = ({ inputs }: SentRequest) => inputs["s"]?.strings();
  const long = "long".padEnd(60);
  const limits = { allowedBatchRows: [1, 4, 8], maxBatchBytes: 100, maxInFlightBatches: 4 };

  it("holds for the parts of a divided batch, whose last row may be longer", async () => {
    const { call, requests } = batchingByHand(limits);
    for (const value of ["a", "b", "c", long, "d", "e", "f", "g"]) void call(text(value));
    const [request] = await requests();
    request?.fail(serverError("INVALID_ARGUMENT"));
    const [half] = await requests();
    expect(texts(half as SentRequest)).toEqual(["a", "b", "c", long]);
    half?.fail(serverError("INVALID_ARGUMENT"));
    // Two rows would be filled up to 4 with the long one.
    expect((await requests()).map(texts)).toEqual([["a", "b", "b", "b"], ["c"], [long]]);
  });

  it("holds for what is left when others have given up", async () => {
    const { call, requests, events } = batchingByHand(limits);
    const late = { deadline: performance.now() + 1 };
    void call(text("late"), late);
    const outcomes = ["a", "b", long].map((value) => call(text(value)));
    void call(text("late"), late);
    const sent = await requests();
    expect(sent.map(texts)).toEqual([["a", "b", "b", "b"], [long]]);
    for (const request of sent) request.answer({ y: request.inputs["s"] as Tensor<"string"> });
    expect((await Promise.all(outcomes)).map(({ outputs }) => outputs["y"]?.strings())).toEqual([["a"], ["b"], [long]]);
    await settled();
    expect(events).toMatchObject([{ calls: 3, rows: 3, bytes: 62, requests: 2, code: "OK" }]);
  });
});

describe("a deadline", () => {
  it("ends a call that waits, and leaves the others their batch", async () => {
    const { call, columns } = await busy({ maxDelayMs: 100 });
    const late = call([1], { deadline: performance.now() + 50 });
    void call([2]);
    await vi.advanceTimersByTimeAsync(49);
    expect(await columns()).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    await expect(late).rejects.toMatchObject({
      name: "RpcError",
      code: "DEADLINE_EXCEEDED",
      message: "DEADLINE_EXCEEDED: predict m: the deadline passed before the call was sent",
      modelSpec: { name: "m" },
      endpoint: "h:8500",
      transport: "grpc",
    });
    await vi.advanceTimersByTimeAsync(50);
    expect(await columns()).toEqual([[2]]);
  });

  it("ends a call in flight, whose rows others do not get", async () => {
    const { call, requests } = batchingByHand();
    const outcomes = [call([1]), call([2, 3], { deadline: performance.now() + 50 }), call([4])];
    const [request] = await requests();
    await vi.advanceTimersByTimeAsync(50);
    await expect(outcomes[1]).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
      serverMessage: "the deadline passed before the answer was complete",
    });
    expect(request?.options.signal?.aborted).toBe(false);
    request?.answer();
    expect(await Promise.all([outcomes[0], outcomes[2]].map((outcome) => outcome?.then(answerOf)))).toEqual([[10], [40]]);
  });

  it("drops a call that has less left than a server understands before the batch is sent", async () => {
    const { call, columns, blocker, events } = await busy();
    const late = call([1], { deadline: performance.now() + 1.5 });
    void call([2]);
    blocker.answer();
    expect(await columns()).toEqual([[2]]);
    await expect(late).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED", serverMessage: "the deadline passed before the call was sent" });
    expect(events).toHaveLength(1);
  });

  it("leaves nothing to send where all of a batch are late, and the next ones their turn", async () => {
    const { call, columns, events } = batchingByHand();
    const late = call([1], { deadline: performance.now() + 1 });
    expect(await columns()).toEqual([]);
    await expect(late).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    void call([2]);
    expect(await columns()).toEqual([[2]]);
    expect(events).toEqual([]);
  });

  it("ends the request when it was the last caller's", async () => {
    const { call, requests, events } = batchingByHand();
    for (const afterMs of [50, 80]) void call([afterMs], { deadline: performance.now() + afterMs });
    const [request] = await requests();
    await vi.advanceTimersByTimeAsync(79);
    expect(request?.options.signal?.aborted).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(request?.options.signal?.aborted).toBe(true);
    expect(events).toMatchObject([{ calls: 2, requests: 1, code: "CANCELLED" }]);
  });

  it("shares one timer with all others, and batches leave none behind", async () => {
    const { call, requests } = batchingByHand({ maxQueuedRows: 3 });
    const controller = new AbortController();
    void call([1]);
    void call([2], { signal: controller.signal });
    void call([3]);
    void call([4]);
    controller.abort();
    const [request] = await requests();
    expect(vi.getTimerCount()).toBe(1);
    request?.answer();
    await settled();
    // That of the deadlines, which does not keep the process alive.
    expect(vi.getTimerCount()).toBe(1);
  });
});

describe("an abort", () => {
  const reason = new Error("enough");

  it("ends a call that waits, whose rows leave the queue", async () => {
    const { call, columns } = batchingByHand();
    const controller = new AbortController();
    const aborted = call([1], { signal: controller.signal });
    void call([2]);
    controller.abort(reason);
    await expect(aborted).rejects.toBe(reason);
    expect(await columns()).toEqual([[2]]);
  });

  it("ends a call in flight, and the request goes on while somebody waits", async () => {
    const { call, requests } = batchingByHand();
    const controllers = [new AbortController(), new AbortController()];
    const outcomes = [call([1], { signal: controllers[0]?.signal }), call([2], { signal: controllers[1]?.signal }), call([3])];
    const [request] = await requests();
    for (const controller of controllers) controller.abort(reason);
    for (const outcome of outcomes.slice(0, 2)) await expect(outcome).rejects.toBe(reason);
    expect(request?.options.signal?.aborted).toBe(false);
    request?.answer();
    expect(answerOf(await (outcomes[2] as (typeof outcomes)[0]))).toEqual([30]);
  });

  it("of every caller cancels the request, and makes place for the next", async () => {
    const { call, requests, columns, events } = batchingByHand({ maxInFlightBatches: 1 });
    const controller = new AbortController();
    const outcomes = [1, 2, 3].map((value) => call([value], { signal: controller.signal }));
    const [request] = await requests();
    void call([4]);
    expect(await columns()).toEqual([]);
    controller.abort(reason);
    expect(request?.options.signal?.aborted).toBe(true);
    for (const outcome of outcomes) await expect(outcome).rejects.toBe(reason);
    expect(await columns()).toEqual([[4]]);
    expect(events).toMatchObject([{ calls: 3, requests: 1, code: "CANCELLED" }]);
  });

  it("before the call keeps it from being sent", async () => {
    const { call, requests } = batchingByHand();
    await expect(call([1], { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(await requests()).toEqual([]);
  });

  it("of a caller that has its answer changes nothing", async () => {
    const { call, requests } = batchingByHand();
    const controller = new AbortController();
    const outcomes = [call([1], { signal: controller.signal }), call([2])];
    const [request] = await requests();
    request?.answer();
    await Promise.all(outcomes);
    controller.abort(reason);
    expect(request?.options.signal?.aborted).toBe(false);
  });
});

/** Refuse every request with a guilty row in it and answer the others, as long as any come: the values of each, round by round. */
async function playOut(requests: () => Promise<SentRequest[]>, isGuilty: (value: number) => boolean) {
  const rounds: number[][][] = [];
  for (let sent = await requests(); sent.length > 0; sent = await requests()) {
    rounds.push(sent.map(({ inputs }) => [...(inputs["x"] as Tensor<"float32">).values]));
    for (const [index, request] of sent.entries()) {
      if (rounds.at(-1)?.[index]?.some(isGuilty)) request.fail(serverError("INVALID_ARGUMENT"));
      else request.answer();
    }
  }
  return rounds;
}

describe("INVALID_ARGUMENT", () => {
  const cases = Array.from({ length: 12 }, (_, index) => index + 1).flatMap((callers) =>
    [[0], [callers - 1], [0, callers - 1], Array.from({ length: callers }, (_, index) => index)].map((guilty) => ({ callers, guilty })),
  );

  it.each(cases)(
    "of $callers callers fails only $guilty, and sends none more than log2(n) + 1 times again",
    async ({ callers, guilty }) => {
      const { call, requests, events } = batchingByHand();
      const outcomes = Array.from({ length: callers }, (_, index) => call([index, index]));
      const rounds = await playOut(requests, (value) => guilty.includes(value));
      if (guilty.length === 1) expect(rounds.length - 1).toBeLessThanOrEqual(Math.log2(callers) + 1);
      for (let caller = 0; caller < callers; caller++) {
        const times = rounds.flat().filter((values) => values.includes(caller)).length;
        expect(times - 1).toBeLessThanOrEqual(Math.log2(callers) + 1);
      }
      const results = await Promise.allSettled(outcomes);
      const failed = results.flatMap(({ status }, index) => (status === "rejected" ? [index] : []));
      expect(failed).toEqual([...new Set(guilty)]);
      results.forEach((result, index) => {
        if (result.status === "fulfilled") expect(answerOf(result.value)).toEqual([10 * index, 10 * index]);
        else expect(result.reason).toMatchObject({ name: "RpcError", code: "INVALID_ARGUMENT" });
      });
      expect(events).toMatchObject([{ calls: callers, requests: rounds.flat().length, code: "INVALID_ARGUMENT" }]);
    },
  );

  it.each([1, 2, 3])("of all callers has no more than maxInFlightBatches (%i) requests in flight", async (maxInFlightBatches) => {
    const { call, requests } = batchingByHand({ maxBatchRows: 8, maxInFlightBatches });
    const outcomes = Array.from({ length: 24 }, (_, index) => call([index]));
    const rounds = await playOut(requests, () => true);
    expect(Math.max(...rounds.map(({ length }) => length))).toBe(maxInFlightBatches);
    expect(rounds.flat()).toHaveLength(3 * 15);
    for (const { status } of await Promise.allSettled(outcomes)) expect(status).toBe("rejected");
  });

  it("keeps a batch waiting while the parts of others are in flight, and sends what is left of it then", async () => {
    const { call, requests, columns, events } = batchingByHand({ maxBatchRows: 2, maxInFlightBatches: 2 });
    const controller = new AbortController();
    for (const x of [[1], [2], [3], [4]]) void call(x);
    const [first, second] = await requests();
    first?.fail(serverError("INVALID_ARGUMENT"));
    second?.fail(serverError("INVALID_ARGUMENT"));
    const parts = await requests();
    expect(parts).toHaveLength(2);
    for (const part of parts) part.answer();
    const [third, fourth] = await requests();
    const aborted = call([5], { signal: controller.signal });
    const late = call([6], { deadline: performance.now() + 50 });
    third?.answer();
    expect(await columns()).toEqual([[5, 6]]);
    controller.abort();
    fourth?.answer();
    await expect(aborted).rejects.toThrow();
    await vi.advanceTimersByTimeAsync(50);
    await expect(late).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    expect(events).toHaveLength(3);
  });

  it("does not send the rows of those again who have given up", async () => {
    const { call, requests, columns } = batchingByHand();
    const controller = new AbortController();
    for (const value of [1, 2, 3, 4]) void call([value], value < 3 ? { signal: controller.signal } : {});
    const [request] = await requests();
    controller.abort("enough");
    request?.fail(serverError("INVALID_ARGUMENT"));
    expect(await columns()).toEqual([[3], [4]]);
  });

  it("sends each part with the latest deadline of its own callers, and ends it when they have given up", async () => {
    const { call, requests } = batchingByHand();
    const now = performance.now();
    [100, 200, 400, 300].forEach((afterMs, index) => void call([index], { deadline: now + afterMs }));
    const [request] = await requests();
    request?.fail(serverError("INVALID_ARGUMENT"));
    const parts = await requests();
    expect(parts.map(({ options }) => options.deadline - now)).toEqual([200, 400]);
    await vi.advanceTimersByTimeAsync(200);
    expect(parts.map(({ options }) => options.signal?.aborted)).toEqual([true, false]);
  });

  it("finds the caller whose inputs have changed, too", async () => {
    const { call, requests } = batchingByHand();
    const s = tensor("string", [1, 1], ["a"]);
    const outcomes = [call({ s }), call({ s: tensor("string", [1, 1], ["b"]) })];
    const [request] = await requests();
    s.values[0] = Uint8Array.of(1, 2, 3);
    request?.fail(new TensorError("input changed"));
    const [changed, other] = await requests();
    changed?.fail(new TensorError("input changed"));
    other?.answer({ y: column(20) });
    await expect(outcomes[0]).rejects.toThrow("input changed");
    expect(answerOf(await (outcomes[1] as (typeof outcomes)[0]))).toEqual([20]);
  });
});

/** Play the rounds out of calls with these numbers of rows; requests fail where they are refused, which says what comes of the calls. */
async function outcomesOf(one: ReturnType<typeof batchingByHand>, sizes: readonly number[], isRefused: (rows: number) => unknown) {
  const outcomes = sizes.map((rows, index) => one.call(new Array<number>(rows).fill(index)));
  const sent: number[] = [];
  for (let round = await one.requests(); round.length > 0; round = await one.requests()) {
    for (const request of round) {
      const rows = request.inputs["x"]?.shape[0] as number;
      sent.push(rows);
      const error = isRefused(rows);
      if (error === undefined) request.answer();
      else request.fail(error);
    }
  }
  const results = await Promise.allSettled(outcomes);
  return { sent, failed: results.flatMap(({ status }, index) => (status === "rejected" ? [index] : [])) };
}

const ones = (count: number) => new Array<number>(count).fill(1);

describe("a request that is too large", () => {
  const tooLarge = [
    "Received message larger than max (2560000 vs 1000000)",
    "Received message that decompresses to a size larger than 1000000",
    "the answer is larger than maxResponseBytes (1000000)",
    "HTTP 413 Request Entity Too Large",
  ];

  it.each(tooLarge)("is sent in halves, and later ones have the rows that fit: %s", async (text) => {
    const one = batchingByHand();
    const refuse = (rows: number) => (rows > 20 ? serverError("RESOURCE_EXHAUSTED", text) : undefined);
    expect(await outcomesOf(one, ones(64), refuse)).toEqual({ sent: [64, 32, 32, 16, 16, 16, 16], failed: [] });
    expect(await outcomesOf(one, ones(64), refuse)).toEqual({ sent: [16, 16, 16, 16], failed: [] });
    expect(one.events.map(({ requests, code }) => [requests, code])).toEqual([[7, "RESOURCE_EXHAUSTED"], ...ones(4).map(() => [1, "OK"])]);
  });

  it("keeps calls that wait already, and those of other options, to what fits", async () => {
    const one = await busy();
    const refuse = (rows: number) => (rows > 20 ? serverError("RESOURCE_EXHAUSTED", tooLarge[0]) : undefined);
    const outcomes = outcomesOf(one, ones(300), refuse);
    one.blocker.answer();
    const { sent, failed } = await outcomes;
    expect(failed).toEqual([]);
    expect(Math.max(...sent.slice(14))).toBe(16);
    const batch = {};
    for (const _ of ones(40)) void one.call([1], { batch });
    expect((await one.columns()).map(({ length }) => length)).toEqual([16, 16]);
  });

  it("leaves calls of other shapes and models as large as they were", async () => {
    const one = batchingByHand();
    const refuse = (rows: number) => (rows > 4 ? serverError("RESOURCE_EXHAUSTED", tooLarge[0]) : undefined);
    await outcomesOf(one, ones(16), refuse);
    for (const _ of ones(8)) void one.call({ x: tensor("float32", [1, 2], [1, 2]) });
    for (const _ of ones(8)) void one.call([1], {}, { name: "n" });
    expect((await one.requests()).map(({ inputs }) => inputs["x"]?.shape)).toEqual([
      [8, 2],
      [8, 1],
    ]);
  });

  it("is divided again where each call had to go alone, since their rows need not be the reason", async () => {
    const warnings = collectWarnings();
    const one = batchingByHand();
    const refuse = (rows: number) => (rows > 1 ? serverError("RESOURCE_EXHAUSTED", tooLarge[0]) : undefined);
    expect(await outcomesOf(one, ones(2), refuse)).toEqual({ sent: [2, 1, 1], failed: [] });
    expect(await outcomesOf(one, ones(4), () => undefined)).toEqual({ sent: [4], failed: [] });
    expect(warnings).toEqual([]);
  });

  it("has calls that nobody can join go by themselves, all at once", async () => {
    const one = batchingByHand();
    const refuse = (rows: number) => (rows > 3 ? serverError("RESOURCE_EXHAUSTED", tooLarge[0]) : undefined);
    expect((await outcomesOf(one, ones(4), refuse)).failed).toEqual([]);
    for (const value of [1, 2, 3]) void one.call([value, value]);
    expect(await one.columns()).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
    ]);
  });

  it("fails only the caller whose own answer is too large, and changes nothing for later ones", async () => {
    const one = batchingByHand();
    const outcomes = Array.from({ length: 8 }, (_, index) => one.call([index]));
    for (let sent = await one.requests(); sent.length > 0; sent = await one.requests()) {
      for (const request of sent) {
        if ((request.inputs["x"] as Tensor<"float32">).values.includes(3)) request.fail(serverError("RESOURCE_EXHAUSTED", tooLarge[0]));
        else request.answer();
      }
    }
    const results = await Promise.allSettled(outcomes);
    expect(results.map(({ status }) => status).indexOf("rejected")).toBe(3);
    expect(results[3]).toMatchObject({ reason: { code: "RESOURCE_EXHAUSTED", serverMessage: tooLarge[0] } });
    expect(await outcomesOf(one, ones(8), () => undefined)).toEqual({ sent: [8], failed: [] });
  });

  it("is everybody's failure where the server has run out of something else", async () => {
    const one = batchingByHand();
    const refuse = () => serverError("RESOURCE_EXHAUSTED", "quota is used up");
    expect(await outcomesOf(one, ones(3), refuse)).toEqual({ sent: [3], failed: [0, 1, 2] });
  });
});

describe("a server's limit below maxBatchRows", () => {
  const refuse = (rows: number) =>
    rows > 32 ? serverError("INVALID_ARGUMENT", `Task size ${rows} is larger than maximum input batch size 32`) : undefined;

  it("is kept to once it has shown", async () => {
    const one = batchingByHand();
    expect(await outcomesOf(one, ones(60), refuse)).toEqual({ sent: [60, 30, 30], failed: [] });
    expect(await outcomesOf(one, ones(60), refuse)).toEqual({ sent: [30, 30], failed: [] });
  });

  it("is kept to also where no two calls fit, which are sent alone without a warning", async () => {
    const warnings = collectWarnings();
    const one = batchingByHand();
    const outcomes = Promise.all(ones(4).map(() => one.call(ones(20))));
    expect(await outcomesOf(one, [], refuse)).toEqual({ sent: [80, 40, 40, 20, 20, 20, 20], failed: [] });
    await outcomes;
    for (const rows of [20, 20, 9, 9]) void one.call(ones(rows));
    expect((await one.columns()).map(({ length }) => length)).toEqual([20, 20, 18]);
    expect(warnings).toEqual([]);
  });
});

describe("the part of a request that a call takes", () => {
  /** What a run is told of calls of so many rows each, once the model is known to answer row by row. */
  async function partsOf(batching: BatchingOptions, calls: readonly number[]): Promise<number[]> {
    const one = batchingByHand();
    await outcomesOf(one, ones(2), () => undefined);
    const parts: number[] = [];
    const batch: RunBatchingOptions = { run: batching, onShared: (part) => void parts.push(part) };
    for (const rows of calls) void one.call(ones(rows), { batch });
    return parts;
  }

  it.each<[string, BatchingOptions, number[], number[]]>([
    ["rows that leave no gap", { maxBatchRows: 64 }, [1, 16, 32, 64], [1 / 64, 1 / 4, 1 / 2, 1]],
    ["rows of which no second call's fit", { maxBatchRows: 64 }, [33, 63], [1, 1]],
    ["rows that leave a gap", { maxBatchRows: 64 }, [22, 20], [1 / 2, 1 / 3]],
    ["bytes that leave a gap", { maxBatchBytes: 100 }, [25, 13, 12], [1, 1, 1 / 2]],
    ["padding that leaves no place for a second call", { allowedBatchRows: [8, 16], maxBatchBytes: 48 }, [4, 5], [1 / 2, 1]],
  ])("is a whole number's of calls with %s", async (_what, batching, calls, parts) => {
    expect(await partsOf(batching, calls)).toEqual(parts);
  });

  it("goes by the rows of calls without bytes", async () => {
    const one = batchingByHand();
    const parts: number[] = [];
    const batch: RunBatchingOptions = { run: { maxBatchRows: 3 }, onShared: (part) => void parts.push(part) };
    void one.call({ x: tensor("float32", [1, 0], []) }, { batch });
    expect(parts).toEqual([1 / 2]);
  });
});

describe("calls that fail together and go well alone", () => {
  const refused = (rows: number) => (rows > 1 ? serverError("INVALID_ARGUMENT") : undefined);

  it("are batched no more, which is said once", async () => {
    const warnings = collectWarnings();
    const one = batchingByHand();
    expect(await outcomesOf(one, ones(4), refused)).toEqual({ sent: [4, 2, 2, 1, 1, 1, 1], failed: [] });
    const text = "batching is off for m, signature serving_default: 4 calls were refused together, and none of them alone";
    expect(warnings).toEqual([[text, { code: "TFSERVING_BATCHING_OFF" }]]);
    await settled();
    expect(one.events).toMatchObject([{ calls: 4, requests: 7, code: "INVALID_ARGUMENT", batchingOff: text }]);
    for (const value of [1, 2, 3, 4]) void one.call([value]);
    expect(await one.columns()).toEqual([[1], [2], [3], [4]]);
  });

  it.each<[string, number, (rows: number) => unknown]>([
    ["two calls, one of which may have shared the server's batch with a stranger's bad row", 2, refused],
    ["calls of which some went well together", 4, (rows) => (rows > 2 ? serverError("INVALID_ARGUMENT") : undefined)],
  ])("are batched all the same, where they were %s", async (_what, count, isRefused) => {
    const warnings = collectWarnings();
    const one = batchingByHand();
    expect((await outcomesOf(one, ones(count), isRefused)).failed).toEqual([]);
    for (const value of [1, 2]) void one.call([value]);
    expect(await one.columns()).toEqual([[1, 2]]);
    expect(warnings).toEqual([]);
  });

  it("are batched all the same, where one of them has given up", async () => {
    const warnings = collectWarnings();
    const one = batchingByHand();
    const controller = new AbortController();
    void one.call([9], { signal: controller.signal });
    const outcomes = outcomesOf(one, ones(4), (rows) => {
      controller.abort("enough");
      return refused(rows);
    });
    expect((await outcomes).failed).toEqual([]);
    expect(warnings).toEqual([]);
  });
});

describe("any other failure", () => {
  it.each([
    ["UNAVAILABLE", serverError("UNAVAILABLE")],
    ["INTERNAL", serverError("INTERNAL")],
    ["FAILED_PRECONDITION", serverError("FAILED_PRECONDITION")],
    ["INVALID_ARGUMENT", new TensorError('output "y": expected a dtype that tensors can have, got variant')],
    ["UNKNOWN", new TypeError("broken")],
  ])("%s is that of all callers, and nothing is sent again: %s", async (code, error) => {
    const { call, requests, events } = batchingByHand();
    const outcomes = [call([1]), call([2]), call([3])];
    const [request] = await requests();
    request?.fail(error);
    for (const outcome of outcomes) await expect(outcome).rejects.toThrow(error);
    expect(await requests()).toEqual([]);
    expect(events).toMatchObject([{ calls: 3, requests: 1, code }]);
  });

  it("is an error of its own to each caller", async () => {
    const { call, requests } = batchingByHand();
    const outcomes = [call([1]), call([2]), call([3])];
    const [request] = await requests();
    const error = serverError("UNAVAILABLE");
    request?.fail(error);
    const errors = (await Promise.allSettled(outcomes)).map((result) => (result as PromiseRejectedResult).reason);
    expect(new Set(errors).size).toBe(3);
    for (const own of errors) {
      expect([isServingError(own, "RpcError"), own instanceof RpcError, isNativeError(own)]).toEqual([true, true, true]);
      expect([own, own.message, own.stack, own.hint]).toEqual([error, error.message, error.stack, error.hint]);
    }
    errors[1].message = "changed";
    expect(errors[2].message).toBe(error.message);
  });

  it("is that of all callers also where the transport throws it", async () => {
    const error = new TypeError("broken");
    const throwing = () => {
      throw error;
    };
    const transport = withBatching({ ...new EchoTransport(), predict: throwing } as never, { endpoint: "", transport: "custom" });
    const batch = {};
    const outcomes = [1, 2].map((value) => transport.predict({ name: "m" }, { x: column(value) }, { deadline: 1e9, batch }));
    for (const outcome of outcomes) await expect(outcome).rejects.toBe(error);
  });

  it("of one half of a divided batch is only that half's", async () => {
    const { call, requests } = batchingByHand();
    const outcomes = [call([1]), call([2])];
    const [request] = await requests();
    request?.fail(serverError("INVALID_ARGUMENT"));
    const [first, second] = await requests();
    first?.fail(serverError("UNAVAILABLE"));
    second?.answer();
    await expect(outcomes[0]).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(answerOf(await (outcomes[1] as (typeof outcomes)[0]))).toEqual([20]);
  });
});

describe("an output that does not have a row for each input row", () => {
  const total = (request: SentRequest) => {
    const values = [...(request.inputs["x"]?.values ?? [])].map(Number);
    request.answer({ y: tensor("float32", [], [values.reduce((sum, value) => sum + value, 0)]) });
  };

  it("has the callers sent alone, and turns batching off for the signature, which is said once", async () => {
    const warnings = collectWarnings();
    const { call, requests, columns, events } = batchingByHand();
    const outcomes = [call([1, 2]), call([3])];
    for (const request of await requests()) total(request);
    const alone = await requests();
    expect(alone.map(({ inputs }) => inputs["x"]?.shape)).toEqual([
      [2, 1],
      [1, 1],
    ]);
    for (const request of alone) total(request);
    expect((await Promise.all(outcomes)).map(answerOf)).toEqual([[3], [3]]);
    await settled();
    const text = 'batching is off for m, signature serving_default: output "y" has shape [] for 3 input rows';
    expect(events).toMatchObject([{ calls: 2, rows: 3, requests: 3, code: "OK", batchingOff: text }]);
    expect(warnings).toEqual([[text, { code: "TFSERVING_BATCHING_OFF" }]]);

    for (const x of [[4], [5]]) void call(x);
    expect(await columns()).toEqual([[4], [5]]);
    expect([events.length, warnings.length]).toEqual([1, 1]);
  });

  it("leaves other signatures, versions and models in batches", async () => {
    collectWarnings();
    const { call, requests, columns } = batchingByHand();
    for (const x of [[1], [2]]) void call(x);
    for (const request of await requests()) total(request);
    for (const request of await requests()) total(request);
    for (const spec of [{ name: "m", signatureName: "other" }, { name: "m", version: 1 }, { name: "n" }]) {
      for (const x of [[3], [4]]) void call(x, {}, spec);
      expect(await columns()).toEqual([[3, 4]]);
    }
  });

  it("is said once where two batches find it, which send no more at once than before", async () => {
    const warnings = collectWarnings();
    const { call, requests, events } = batchingByHand({ maxBatchRows: 2 });
    const outcomes = [1, 2, 3, 4].map((value) => call([value]));
    for (let round = 0; round < 3; round++) {
      const sent = await requests();
      expect(sent).toHaveLength(2);
      for (const request of sent) total(request);
    }
    expect((await Promise.all(outcomes)).map(answerOf)).toEqual([[1], [2], [3], [4]]);
    await settled();
    expect([events.length, events.filter(({ batchingOff }) => batchingOff !== undefined).length, warnings.length]).toEqual([2, 1, 1]);
  });

  it("fails only the caller whose own request fails", async () => {
    collectWarnings();
    const { call, requests } = batchingByHand();
    const outcomes = [call([1]), call([2])];
    for (const request of await requests()) total(request);
    const [first, second] = await requests();
    first?.fail(serverError("INTERNAL"));
    total(second as SentRequest);
    await expect(outcomes[0]).rejects.toMatchObject({ code: "INTERNAL" });
    expect(answerOf(await (outcomes[1] as (typeof outcomes)[0]))).toEqual([2]);
  });

  it("is found behind padding, and the request alone has none", async () => {
    collectWarnings();
    const { call, requests } = batchingByHand({ allowedBatchRows: [4] });
    const outcome = call([1]);
    for (const request of await requests()) total(request);
    const [alone] = await requests();
    expect(alone?.inputs["x"]?.shape).toEqual([1, 1]);
    total(alone as SentRequest);
    expect(answerOf(await outcome)).toEqual([1]);
  });

  it("does not send those again who have given up", async () => {
    collectWarnings();
    const { call, requests, columns } = batchingByHand();
    const controller = new AbortController();
    void call([1], { signal: controller.signal });
    void call([2]);
    const sent = await requests();
    controller.abort("enough");
    for (const request of sent) total(request);
    expect(await columns()).toEqual([[2]]);
  });
});

describe("a full queue", () => {
  it("fails a call at once, and takes others when there is place again", async () => {
    const { call, columns, blocker } = await busy({ maxQueuedRows: 4, maxInFlightBatches: 1 });
    void call([1, 2]);
    void call([3], {}, { name: "other" });
    await expect(call([4, 5, 6])).rejects.toMatchObject({
      name: "RpcError",
      code: "RESOURCE_EXHAUSTED",
      message: "RESOURCE_EXHAUSTED: predict m: the client's batching queue is full: 3 rows wait, 4 may",
      endpoint: "h:8500",
      transport: "grpc",
    });
    // The other model's queue is idle, so its rows wait no longer.
    expect(await columns()).toEqual([[3]]);
    void call([7, 8]);
    await expect(call([9])).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    blocker.answer();
    expect(await columns()).toEqual([[1, 2, 7, 8]]);
    void call([10, 11, 12, 13]);
    await expect(call([14])).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
  });

  it("counts the rows of calls that give up no more", async () => {
    const { call, blocker, columns } = await busy({ maxQueuedRows: 2, maxInFlightBatches: 1 });
    const controller = new AbortController();
    void call([1], { signal: controller.signal });
    void call([2], { deadline: performance.now() + 50 });
    controller.abort();
    void call([3]);
    await expect(call([4])).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    await vi.advanceTimersByTimeAsync(50);
    void call([5]);
    blocker.answer();
    expect(await columns()).toEqual([[3, 5]]);
  });

  it("does not keep calls out that are sent as they are", async () => {
    const { call, columns } = await busy({ maxQueuedRows: 1, maxInFlightBatches: 1 });
    void call([1]);
    void call([2], { batch: false });
    expect(await columns()).toEqual([[2]]);
  });
});

describe("onBatch", () => {
  it("is told each batch once its calls have settled", async () => {
    const settledCalls: number[] = [];
    const events: { event: BatchEvent; after: number[] }[] = [];
    const { call, requests, blocker } = await busy({
      maxBatchRows: 4,
      maxInFlightBatches: 3,
      maxDelayMs: 10,
      onBatch: (event) => void events.push({ event, after: [...settledCalls] }),
    });
    const note = (value: number) => call([value, value]).then(() => void settledCalls.push(value));
    void note(1);
    await vi.advanceTimersByTimeAsync(3);
    void note(2);
    void note(3);
    await vi.advanceTimersByTimeAsync(10);
    const [full, late] = await requests();
    await vi.advanceTimersByTimeAsync(7);
    full?.answer();
    await settled();
    late?.answer();
    await settled();
    blocker.answer();
    await settled();
    const common = { modelName: "m", signatureName: "serving_default", paddingRows: 0, requests: 1, code: "OK" };
    expect(events).toEqual([
      { event: { ...common, calls: 2, rows: 4, bytes: 16, waitMs: 3, durationMs: 17, flushReason: "full" }, after: [1, 2] },
      { event: { ...common, calls: 1, rows: 2, bytes: 8, waitMs: 10, durationMs: 7, flushReason: "delay" }, after: [1, 2, 3] },
      { event: { ...common, calls: 1, rows: 1, bytes: 4, waitMs: 0, durationMs: 20, flushReason: "idle" }, after: [1, 2, 3] },
    ]);
  });

  it("that throws becomes a warning, and the batches go on", async () => {
    const warnings = collectWarnings();
    const onBatch = () => {
      throw new Error("counter is broken");
    };
    const { call, requests } = batchingByHand({ onBatch, maxInFlightBatches: 1 });
    for (const value of [1, 2]) {
      const outcome = call([value]);
      const [request] = await requests();
      request?.answer();
      expect(answerOf(await outcome)).toEqual([10 * value]);
    }
    await settled();
    expect(warnings).toEqual([1, 2].map(() => ["onBatch: Error: counter is broken", { code: "TFSERVING_ON_BATCH" }]));
  });
});

describe("a queue", () => {
  setFlagsFromString("--expose-gc");
  const collectGarbage = runInNewContext("gc") as () => void;

  /** What keeps a queue, from within a function of its own so that nothing on the stack does. */
  async function afterCall(settle: (one: ReturnType<typeof batchingByHand>, spec: { name: string }) => Promise<void>) {
    const one = batchingByHand();
    const spec = { name: "m" };
    const kept = new WeakRef(spec);
    await settle(one, spec);
    return { one, kept };
  }

  it.each<[string, (one: ReturnType<typeof batchingByHand>, spec: { name: string }) => Promise<void>]>([
    [
      "answers",
      async ({ call, requests }, spec) => {
        const outcome = call([1], {}, spec);
        for (const request of await requests()) request.answer();
        await outcome;
      },
    ],
    [
      "refuses as aborted before",
      async ({ call }, spec) => void (await call([1], { signal: AbortSignal.abort() }, spec).catch(() => undefined)),
    ],
    [
      "loses to an abort",
      async ({ call }, spec) => {
        const controller = new AbortController();
        const outcome = call([1], { signal: controller.signal }, spec);
        controller.abort();
        await outcome.catch(() => undefined);
      },
    ],
  ])("is forgotten with the last call, which it %s", async (_what, settle) => {
    const { one, kept } = await afterCall(settle);
    await settled();
    await settled();
    collectGarbage();
    expect(kept.deref()).toBeUndefined();
    void one.call([2]);
    expect(await one.columns()).toEqual([[2]]);
  });
});
