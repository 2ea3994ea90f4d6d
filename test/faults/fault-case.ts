/** One way for a peer to misbehave, what a call to it must come to, and the run that finds out what it does come to. */
import {
  type ClientOptions,
  isServingError,
  type PredictInputs,
  PredictionClient,
  type ServingError,
  type StatusCode,
  tensor,
} from "../../src/index.js";
import { eventually, type Handles, handles } from "../client/unanswering-peers.js";
import { livingBytes } from "../support/memory.js";

/** A peer that runs. */
export interface FaultPeer {
  /** What the client connects to, with its scheme. */
  readonly target: string;
  /** How many connections the client has not ended, as far as the peer sees; from now on it reads whatever comes. */
  connections(): number;
  /** Ends every connection; settles when the port is free. */
  close(): Promise<void>;
}

/** The error a call must reject with, or that it must succeed. */
export type FaultExpectation =
  | {
      readonly name: ServingError["name"];
      readonly code: StatusCode | readonly StatusCode[];
      /** Somewhere in the message. */
      readonly text?: RegExp;
      readonly hint?: RegExp;
    }
  | { readonly succeeds: true };

/** One way for a peer to misbehave. */
export interface FaultCase {
  /** What the peer does, in the present tense: "resets the connection after the request headers". */
  readonly name: string;
  /** Start the peer, on a port of its own. */
  start(): Promise<FaultPeer>;
  readonly expected: FaultExpectation;
  /** The call's deadline: short where it is waited for, or else so long that a busy machine does not make it run out. @defaultValue 5000 */
  readonly timeoutMs?: number;
  /** @defaultValue `"predict"` */
  readonly call?: "predict" | "classify" | "getModelMetadata" | "getModelStatus";
  /** What a predict call sends. @defaultValue three numbers for `x` */
  readonly inputs?: PredictInputs;
  /** Options of the client, over `retry: false` and the deadline. */
  readonly options?: ClientOptions;
  /** How many calls come first, on the same client; they must succeed. @defaultValue 0 */
  readonly callsBefore?: number;
  /**
   * How many bytes of array buffers may live during the call beyond those before: what the answer declares or `maxResponseBytes`, and 8 MiB.
   *
   * @defaultValue 8 MiB
   */
  readonly maxGrowthBytes?: number;
}

/** What a call came to. */
export interface FaultOutcome {
  /** Class of the error; `success` where the call succeeded. */
  readonly name: string;
  readonly code: StatusCode | undefined;
  /** First line of the error's message. */
  readonly message: string;
  readonly hint: string | undefined;
  readonly elapsedMs: number;
  /** Most bytes of array buffers during the call, beyond those before it; garbage is left out where there would be too many. */
  readonly growthBytes: number;
  /** The same on the heap. */
  readonly heapGrowthBytes: number;
  /** Connections that were open a second after the client had closed, before the peer closed. */
  readonly connectionsLeft: number;
  /** Bytes of array buffers that stayed after both had closed, beyond those before the call; garbage is left out likewise. */
  readonly keptBytes: number;
  /** Handles that stayed after the client and the peer had closed. */
  readonly handlesLeft: string;
  /** Messages of rejections and exceptions that nobody caught. */
  readonly uncaught: readonly string[];
}

/** What {@link FaultCase} leaves out. */
export const faultDefaults = Object.freeze({ timeoutMs: 5000, maxGrowthBytes: 8 * 2 ** 20 });

/** How long after its deadline a call may settle on a busy machine. */
const graceMs = 1000;

/** How much may stay in array buffers: pools, and what modules keep that are loaded with the first call. */
const keptSlackBytes = 4 * 2 ** 20;

/** What modules that are loaded with the first call, and peers, may take on the heap. */
const heapSlackBytes = 24 * 2 ** 20;

const modelName = "half_plus_two";

/**
 * Start the peer, make the call, close both, and tell what happened.
 *
 * @throws What a call before throws.
 */
export async function runFault(faultCase: FaultCase): Promise<FaultOutcome> {
  const before = handles();
  const uncaught = collectUncaught();
  try {
    const { buffersBefore, ...called } = await callPeer(faultCase);
    await eventually(() => handlesLeft(before) === "");
    const keptBytes = await settledGrowth(buffersBefore);
    return { ...called, keptBytes, handlesLeft: handlesLeft(before), uncaught: uncaught.messages };
  } finally {
    uncaught.stop();
  }
}

/** What is known before the peer closes. */
interface CallOutcome extends Omit<FaultOutcome, "keptBytes" | "handlesLeft" | "uncaught"> {
  /** Bytes of array buffers when the call began. */
  readonly buffersBefore: number;
}

async function callPeer(faultCase: FaultCase): Promise<CallOutcome> {
  const { timeoutMs = faultDefaults.timeoutMs, options } = faultCase;
  const peer = await faultCase.start();
  try {
    const called = await callOnce(new PredictionClient(peer.target, { retry: false, timeoutMs, ...options }), faultCase);
    await eventually(() => peer.connections() === 0);
    return { ...called, connectionsLeft: peer.connections() };
  } finally {
    await peer.close();
  }
}

/** The call that counts, after those before it; the client is closed then. */
async function callOnce(client: PredictionClient, faultCase: FaultCase): Promise<Omit<CallOutcome, "connectionsLeft">> {
  const { callsBefore = 0, maxGrowthBytes = faultDefaults.maxGrowthBytes } = faultCase;
  try {
    for (let calls = 0; calls < callsBefore; calls++) await callOf(client, faultCase);
    const memory = watchMemory(maxGrowthBytes);
    const startedAt = performance.now();
    const settled = await callOf(client, faultCase).then(
      () => ({ name: "success", code: undefined, message: "", hint: undefined }),
      (error: unknown) => described(error),
    );
    return { ...settled, elapsedMs: performance.now() - startedAt, ...memory.stop() };
  } finally {
    await client.close();
  }
}

/** Where an outcome differs from what is expected; nothing where it does not. */
export function faultDifferences(faultCase: FaultCase, outcome: FaultOutcome): string[] {
  const { maxGrowthBytes = faultDefaults.maxGrowthBytes, timeoutMs = faultDefaults.timeoutMs } = faultCase;
  const differences = errorDifferences(faultCase.expected, outcome);
  if (outcome.elapsedMs > timeoutMs + graceMs) {
    differences.push(`expected to settle within ${timeoutMs} + ${graceMs} ms, got ${Math.round(outcome.elapsedMs)} ms`);
  }
  if (outcome.growthBytes > maxGrowthBytes) {
    differences.push(`expected at most ${maxGrowthBytes} bytes more in array buffers, got ${outcome.growthBytes}`);
  }
  if (outcome.heapGrowthBytes > maxGrowthBytes + heapSlackBytes) {
    differences.push(`expected at most ${maxGrowthBytes + heapSlackBytes} bytes more on the heap, got ${outcome.heapGrowthBytes}`);
  }
  if (outcome.connectionsLeft > 0) {
    differences.push(`expected no connections a second after the client's close, got ${outcome.connectionsLeft}`);
  }
  if (outcome.keptBytes > keptSlackBytes) {
    differences.push(`expected at most ${keptSlackBytes} bytes more in array buffers after close, got ${outcome.keptBytes}`);
  }
  if (outcome.handlesLeft !== "") differences.push(`expected no handles after close, got ${outcome.handlesLeft}`);
  for (const message of outcome.uncaught) differences.push(`expected nothing uncaught, got ${message}`);
  return differences;
}

function errorDifferences(expected: FaultExpectation, { name, code, message, hint }: FaultOutcome): string[] {
  const got = `${name} ${message}`;
  if ("succeeds" in expected) return name === "success" ? [] : [`expected success, got ${got}`];
  const codes = [expected.code].flat();
  if (name !== expected.name || code === undefined || !codes.includes(code)) {
    return [`expected ${expected.name} ${codes.join(" or ")}, got ${got}`];
  }
  const differences = [];
  if (expected.text?.test(message) === false) differences.push(`expected a message like ${expected.text}, got ${message}`);
  if (expected.hint?.test(hint ?? "") === false) differences.push(`expected a hint like ${expected.hint}, got ${hint ?? "none"}`);
  return differences;
}

/** A tensor, which needs no signature, so that over gRPC the first request is the call itself. */
const someNumbers = tensor("float32", [3], [1, 2, 5]);

function callOf(client: PredictionClient, { call = "predict", inputs = { x: someNumbers } }: FaultCase): Promise<unknown> {
  if (call === "predict") return client.predict(modelName, inputs);
  if (call === "classify") return client.classify(modelName, [{ x: 1 }]);
  return client[call](modelName);
}

function described(error: unknown): Pick<FaultOutcome, "name" | "code" | "message" | "hint"> {
  if (isServingError(error)) return { name: error.name, code: error.code, message: firstLine(error.message), hint: error.hint };
  const { name, message } = error instanceof Error ? error : new Error(String(error));
  return { name, code: undefined, message: firstLine(message), hint: undefined };
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0] ?? "";
}

function handlesLeft(before: Handles): string {
  const left = Object.entries(handles()).map(([name, count]) => [name, count - before[name as keyof Handles]] as const);
  return left
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${count} ${name}`)
    .join(", ");
}

const sampleMs = 50;

/** The most bytes alive in array buffers and on the heap until `stop`, less those at the start; with garbage while all is within bounds. */
function watchMemory(maxGrowthBytes: number): { stop(): Pick<CallOutcome, "buffersBefore" | "growthBytes" | "heapGrowthBytes"> } {
  const before = livingBytes();
  const allowed = { buffers: before.buffers + maxGrowthBytes, heap: before.heap + maxGrowthBytes + heapSlackBytes };
  const most = { ...before };
  const sample = () => {
    const now = livingBytes(allowed);
    most.buffers = Math.max(most.buffers, now.buffers);
    most.heap = Math.max(most.heap, now.heap);
  };
  const timer = setInterval(sample, sampleMs);
  return {
    stop() {
      clearInterval(timer);
      sample();
      return { buffersBefore: before.buffers, growthBytes: most.buffers - before.buffers, heapGrowthBytes: most.heap - before.heap };
    },
  };
}

/** Bytes of array buffers beyond those before, once they are few or a second has passed: what a connection holds goes some turns after it. */
async function settledGrowth(before: number): Promise<number> {
  let growth = 0;
  await eventually(() => {
    growth = livingBytes({ buffers: before + keptSlackBytes, heap: Number.POSITIVE_INFINITY }).buffers - before;
    return growth <= keptSlackBytes;
  });
  return growth;
}

/** Rejections and exceptions that nobody catches until `stop`. */
function collectUncaught() {
  const messages: string[] = [];
  const collect = (error: unknown) => messages.push(described(error).message);
  process.on("unhandledRejection", collect).on("uncaughtException", collect);
  const stop = () => process.off("unhandledRejection", collect).off("uncaughtException", collect);
  return { messages, stop };
}
