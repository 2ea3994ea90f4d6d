/** One batch: the request for its callers, those that come of it, and what each caller gets of the answers. */
import { minRemainingMs } from "../deadline.js";
import { copyOfError, isServingError, type StatusCode } from "../errors.js";
import { type ModelSpec, signatureNameOf } from "../model-spec.js";
import { copyRows, joinRows } from "../tensor/rows.js";
import { formatShape } from "../tensor/shape.js";
import type { AnyTensor } from "../tensor/tensor.js";
import type { BatchEvent, PredictResult, TensorMap, Transport } from "../transport/transport.js";
import { type BatchLimits, exceeds, type Flushed, paddingFor, sizeOf } from "./batcher.js";
import type { Caller } from "./caller.js";
import type { Places } from "./places.js";
import { callSize } from "./shared-call.js";

/** What callers have in common that may share a request. */
export interface CallKind {
  readonly spec: ModelSpec;
  readonly next: Transport;
  /** Of requests in flight. */
  readonly places: Places;
  /** Of requests of several calls. */
  readonly limits: BatchLimits;
  now(): number;
  /** The model answers row by row: calls have shared a request. */
  confirm(): void;
  /** Later requests have no more rows than this. */
  limitRows(rows: number): void;
  /** Batch the model no more; how that is said, or `undefined` if it has been said before. */
  turnOff(why: string): string | undefined;
}

/** Why a request ends that no caller waits for any more; nobody gets to see it. */
const abandoned = Symbol("abandoned");

/** What is told of a batch's first request. */
interface FirstRequest extends Pick<BatchEvent, "calls" | "rows" | "paddingRows" | "bytes"> {
  readonly startedAt: number;
}

/** Some callers' request, and those that come of it. */
export class Batch {
  readonly #kind: CallKind;
  #allowedRows: readonly number[];
  #first: FirstRequest | undefined;
  /** Of the largest requests that went well. */
  readonly #fitting = { calls: 0, rows: 0 };
  #requests = 0;
  #code: StatusCode = "OK";
  #batchingOff: string | undefined;

  constructor(kind: CallKind) {
    this.#kind = kind;
    this.#allowedRows = kind.limits.allowedRows;
  }

  /** Settle the callers by a request, once there is a place for it; never rejects. */
  settle(callers: readonly Caller[]): Promise<void> {
    const { places } = this.#kind;
    return places.take() ? this.#request(callers) : places.next().then(() => this.#request(callers));
  }

  /** What became of it; `undefined` if nobody was left to send something for. */
  event({ reason, since }: Pick<Flushed<Caller>, "reason" | "since">): BatchEvent | undefined {
    if (this.#first === undefined) return undefined;
    const { startedAt, ...size } = this.#first;
    return {
      modelName: this.#kind.spec.name,
      signatureName: signatureNameOf(this.#kind.spec),
      ...size,
      waitMs: startedAt - since,
      durationMs: this.#kind.now() - startedAt,
      requests: this.#requests,
      flushReason: reason,
      code: this.#code,
      ...(this.#batchingOff === undefined ? {} : { batchingOff: this.#batchingOff }),
    };
  }

  /** The place for it has been taken. */
  async #request(members: readonly Caller[]): Promise<void> {
    const { places, limits } = this.#kind;
    const callers = this.#inTime(members);
    if (callers.length === 0) {
      places.leave();
      return;
    }
    const size = sizeOf(callers);
    const paddingRows = paddingFor(size.rows, this.#allowedRows);
    this.#first ??= { startedAt: this.#kind.now(), calls: callers.length, rows: size.rows, paddingRows, bytes: size.bytes };
    // A part may be too much where the whole was not: its last row, which padding repeats, is another one.
    if (callers.length > 1 && exceeds(size, limits)) {
      places.leave();
      await this.#halve(callers);
      return;
    }
    const isFirst = this.#requests++ === 0;
    try {
      const result = await this.#answer(callers, paddingRows);
      const misfit = deal(callers, result, size.rows + paddingRows);
      if (misfit === undefined) this.#note(callers.length, size.rows);
      else await this.#sendAlone(callers, misfit);
    } catch (error) {
      if (isFirst) this.#code = codeOf(error, callers);
      await this.#divide(callers, error);
      if (isFirst) this.#learn(callers, error);
    }
  }

  /** A request went well. */
  #note(calls: number, rows: number): void {
    if (calls > 1) this.#kind.confirm();
    this.#fitting.calls = Math.max(this.#fitting.calls, calls);
    this.#fitting.rows = Math.max(this.#fitting.rows, rows);
  }

  /** Where calls failed together and none of them is to blame, as many would fail again. */
  #learn(callers: readonly Caller[], error: unknown): void {
    if (!callers.every(({ isAnswered }) => isAnswered)) return;
    if (isTooLarge(error)) {
      // Where each had to go alone by its bytes, later calls of as many rows may have fewer.
      if (this.#fitting.calls > 1 || hasTooManyRows(error)) this.#kind.limitRows(this.#fitting.rows);
    }
    // Two may have met a stranger's bad row in the server's own batch.
    else if (this.#fitting.calls === 1 && callers.length > 2)
      this.#batchingOff ??= this.#kind.turnOff(`${callers.length} calls were refused together, and none of them alone`);
  }

  /** Those who still wait, and have more time left than a server needs to understand so. */
  #inTime(callers: readonly Caller[]): readonly Caller[] {
    const now = this.#kind.now();
    for (const caller of callers) if (!caller.isSettled && caller.deadline - now < minRemainingMs) caller.expire();
    return waitingOf(callers);
  }

  /** The answer to one request for all these callers, whose place is free then. */
  async #answer(callers: readonly Caller[], paddingRows: number): Promise<PredictResult> {
    try {
      const inputs = joinedInputs(callers, paddingRows);
      return await (callers.length === 1 ? this.#sent(callers[0] as Caller, inputs) : this.#sentTogether(callers, inputs));
    } finally {
      this.#kind.places.leave();
    }
  }

  /** A lone call has its own limits. A transport that does not keep to them must not hold up the queue. */
  #sent(caller: Caller, inputs: TensorMap): Promise<PredictResult> {
    const { next, spec } = this.#kind;
    return new Promise((resolve, reject) => {
      caller.onLeave = () => reject(abandoned);
      next.predict(spec, inputs, { ...caller.options, batch: false }).then(resolve, reject);
    });
  }

  /** The request ends when none of the callers waits any more. */
  #sentTogether(callers: readonly Caller[], inputs: TensorMap): Promise<PredictResult> {
    const { next, spec } = this.#kind;
    const controller = new AbortController();
    let deadline = 0;
    for (const caller of callers) deadline = Math.max(deadline, caller.deadline);
    const [{ options }] = callers as [Caller];
    return new Promise((resolve, reject) => {
      let waiting = callers.length;
      const onLeave = () => {
        waiting--;
        if (waiting > 0) return;
        controller.abort();
        reject(abandoned);
      };
      for (const caller of callers) caller.onLeave = onLeave;
      next.predict(spec, inputs, { ...options, deadline, signal: controller.signal, batch: false }).then(resolve, reject);
    });
  }

  /** The model does not answer row by row: its callers get answers of their own, and no later call is batched. */
  async #sendAlone(callers: readonly Caller[], misfit: string): Promise<void> {
    this.#batchingOff ??= this.#kind.turnOff(misfit);
    this.#allowedRows = [];
    await Promise.all(callers.map((caller) => this.settle([caller])));
  }

  /** Of a request that was too large, or may have failed by one caller's fault, send the halves; any other failure is everybody's. */
  async #divide(callers: readonly Caller[], error: unknown): Promise<void> {
    const waiting = waitingOf(callers);
    if (callers.length > 1 && (isTooLarge(error) || isOnesFault(error, callers))) {
      await this.#halve(waiting);
      return;
    }
    waiting.forEach((caller, index) => {
      caller.fail(index === 0 ? error : copyOfError(error));
    });
  }

  async #halve(callers: readonly Caller[]): Promise<void> {
    const middle = Math.ceil(callers.length / 2);
    await Promise.all([this.settle(callers.slice(0, middle)), this.settle(callers.slice(middle))]);
  }
}

/** Give every caller its rows; says what stands against that where an output does not have them. */
function deal(callers: readonly Caller[], result: PredictResult, sentRows: number): string | undefined {
  const [first] = callers as [Caller];
  if (callers.length === 1 && first.rows === sentRows) {
    first.succeed(result);
    return undefined;
  }
  for (const [name, { shape }] of Object.entries(result.outputs)) {
    if (shape[0] !== sentRows) return `output "${name}" has shape ${formatShape(shape)} for ${sentRows} input rows`;
  }
  let start = 0;
  for (const caller of callers) {
    const end = start + caller.rows;
    if (!caller.isSettled) caller.succeed(rowsOf(result, start, end));
    start = end;
  }
  return undefined;
}

/** Whether a failure may be one caller's: the server found fault with the inputs, or some of them are not what they were. */
function isOnesFault(error: unknown, callers: readonly Caller[]): boolean {
  if (!isServingError(error) || error.code !== "INVALID_ARGUMENT") return false;
  return isServingError(error, "RpcError") || callers.some(({ inputs, bytes }) => callSize(inputs)?.bytes !== bytes);
}

/** Whether a request failed by its size or that of its answer: that of fewer calls may be within the limit. */
function isTooLarge(error: unknown): boolean {
  if (!isServingError(error, "RpcError")) return false;
  return hasTooManyRows(error) || (error.code === "RESOURCE_EXHAUSTED" && sizeTexts.test(error.serverMessage));
}

/** What the transports, a server or a proxy say of that. */
const sizeTexts = /larger than|^HTTP 413 /;

/** Whether a server that batches refused a request for its rows. */
function hasTooManyRows(error: unknown): boolean {
  if (!isServingError(error, "RpcError") || error.code !== "INVALID_ARGUMENT") return false;
  return error.serverMessage.includes("larger than maximum input batch size");
}

/** How a request ended: a transport that is told to stop rejects with the abort's reason, which has no code. */
function codeOf(error: unknown, callers: readonly Caller[]): StatusCode {
  if (isServingError(error)) return error.code;
  return callers.every(({ isSettled }) => isSettled) ? "CANCELLED" : "UNKNOWN";
}

function waitingOf(callers: readonly Caller[]): Caller[] {
  return callers.filter((caller) => !caller.isSettled);
}

/** The rows of all callers, input by input, and the padding. */
function joinedInputs(callers: readonly Caller[], paddingRows: number): TensorMap {
  const last = callers.at(-1) as Caller;
  if (callers.length === 1 && paddingRows === 0) return last.inputs;
  const joined: Record<string, AnyTensor> = Object.create(null);
  for (const name of Object.keys(last.inputs)) {
    const pieces = callers.map(({ inputs }) => inputs[name] as AnyTensor);
    if (paddingRows > 0) {
      const lastRow = copyRows(pieces.at(-1) as AnyTensor, last.rows - 1, last.rows);
      for (let row = 0; row < paddingRows; row++) pieces.push(lastRow);
    }
    joined[name] = joinRows(pieces);
  }
  return joined;
}

/** One caller's part of an answer. */
function rowsOf({ outputs, modelSpec }: PredictResult, start: number, end: number): PredictResult {
  const own: PredictResult["outputs"] = Object.create(null);
  for (const name of Object.keys(outputs)) own[name] = copyRows(outputs[name] as AnyTensor, start, end);
  return { outputs: own, modelSpec: { ...modelSpec } };
}
