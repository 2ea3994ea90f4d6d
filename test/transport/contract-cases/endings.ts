/** How calls end without an answer: deadline, abort, and no server at all. Every method over the same peers. */
import assert from "node:assert/strict";
import type { CallOptions, PredictionClient } from "../../../src/index.js";
import { type ContractCase, type ContractMethod, fails } from "../contract.js";
import { manyIterations } from "../contract-models.js";

type Call = (client: PredictionClient, options: CallOptions) => Promise<unknown>;

const regression = { name: "half_plus_two", signatureName: "regress_x_to_y" };

/** One good call of each method. */
const calls: Readonly<Record<Exclude<ContractMethod, "client">, Call>> = {
  predict: (client, options) => client.predict("half_plus_two", [1], options),
  classify: (client, options) => client.classify({ name: "half_plus_two", signatureName: "classify_x_to_y" }, [{ x: 1 }], options),
  regress: (client, options) => client.regress(regression, [{ x: 1 }], options),
  multiInference: (client, options) => client.multiInference([{ model: regression, method: "regress" }], [{ x: 1 }], options),
  getModelMetadata: (client, options) => client.getModelMetadata("half_plus_two", options),
  getModelStatus: (client, options) => client.getModelStatus("half_plus_two", options),
  reloadConfig: (client, options) => client.reloadConfig({ models: [] }, options),
  waitForModel: (client, options) => client.waitForModel("half_plus_two", options),
  "ModelClient.predict": (client, options) => client.model("half_plus_two").predict([1], options),
};

/** No call takes longer than this to end. */
const boundMs = 1000;
const timeoutMs = 60;

const notOverRest = { REST: fails("UNIMPLEMENTED", "gRPC") };

/** The cases of one method. */
function endingsOf(method: ContractMethod, call: Call): ContractCase[] {
  const isOverRest = method !== "multiInference" && method !== "reloadConfig";
  const over = isOverRest ? {} : notOverRest;
  const unavailable = method === "waitForModel" ? fails("DEADLINE_EXCEEDED", "last seen: UNAVAILABLE") : fails("UNAVAILABLE");
  return [
    { method, kind: "deadline", title: "a server that does not answer", run: silently(call), expected: fails("DEADLINE_EXCEEDED"), over },
    {
      method,
      kind: "deadline",
      title: "no time left to send it",
      run: ({ client }) => call(client, { timeoutMs: 0.001 }),
      expected: fails("DEADLINE_EXCEEDED"),
      over,
    },
    { method, kind: "abort", title: "before the call", run: abortedBefore(call), expected: "the reason" },
    { method, kind: "abort", title: "while the server does not answer", run: abortedInFlight(call), expected: "the reason", over },
    { method, kind: "server down", title: "a port where nobody listens", run: down(call), expected: unavailable, over, connected: true },
  ];
}

function silently(call: Call): ContractCase["run"] {
  return async ({ startSilent }) => {
    const { client, close } = await startSilent();
    return within(boundMs, call(client, { timeoutMs })).finally(close);
  };
}

function abortedBefore(call: Call): ContractCase["run"] {
  return ({ client }) => {
    const reason = new Error("changed my mind");
    return theReason(reason, call(client, { signal: AbortSignal.abort(reason) }));
  };
}

function abortedInFlight(call: Call): ContractCase["run"] {
  return async ({ startSilent }) => {
    const { client, called, close } = await startSilent();
    return abortOnce(called, (signal) => call(client, { signal })).finally(close);
  };
}

function down(call: Call): ContractCase["run"] {
  return async ({ startDown }) => {
    const { client, close } = await startDown();
    return within(boundMs, call(client, { timeoutMs: 300 })).finally(close);
  };
}

/** Abort a call once it is on its way; a call that ends by itself before ends as it does. */
async function abortOnce(underWay: Promise<unknown>, start: (signal: AbortSignal) => Promise<unknown>): Promise<unknown> {
  const abort = new AbortController();
  const reason = new Error("changed my mind");
  const ended = theReason(reason, start(abort.signal));
  await Promise.race([underWay, ended]);
  abort.abort(reason);
  return within(boundMs, ended);
}

/** `"the reason"` if a call rejects with it. */
async function theReason(reason: Error, call: Promise<unknown>): Promise<unknown> {
  try {
    return await call;
  } catch (error) {
    if (error !== reason) throw error;
    return "the reason";
  }
}

async function within<T>(limitMs: number, call: Promise<T>): Promise<T> {
  const began = performance.now();
  try {
    return await call;
  } finally {
    const tookMs = performance.now() - began;
    assert.ok(tookMs < limitMs, `expected the call to end within ${limitMs} ms, it took ${tookMs}`);
  }
}

// A scalar among the inputs keeps it out of row format.
const slowInputs = { x: [1], iterations: manyIterations };
const inColumns = { restFormat: "column" } as const;

/** Every method's endings, and those of a model that computes. */
export const endingCases: readonly ContractCase[] = [
  ...Object.entries(calls).flatMap(([method, call]) => endingsOf(method as ContractMethod, call)),
  {
    method: "predict",
    kind: "deadline",
    title: "a model that computes for long",
    run: ({ client }) => within(boundMs, client.predict("slow", slowInputs, { ...inColumns, timeoutMs: 150 })),
    expected: fails("DEADLINE_EXCEEDED"),
  },
  {
    method: "predict",
    kind: "abort",
    title: "while a model computes",
    run: async ({ client }) => {
      await client.predict("slow", { ...slowInputs, iterations: 0 }, inColumns);
      // Answered after the slow call went out.
      const start = (signal: AbortSignal) => client.predict("slow", slowInputs, { ...inColumns, signal, timeoutMs: 5000 });
      return abortOnce(client.getModelStatus("slow"), start);
    },
    expected: "the reason",
  },
];
