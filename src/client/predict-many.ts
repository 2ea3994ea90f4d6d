/** Predicting many inputs: an iterable in, an async iterable out, and never more than a bound in between. */
import type { RunBatchingOptions } from "../batching/batch-settings.js";
import { onAbort } from "../deadline.js";
import { assertCount } from "../option-checks.js";
import type { PredictInputs } from "../predict-inputs.js";
import { describe } from "../tensor/values.js";
import type { BatchingOptions, PredictResult } from "../transport/transport.js";
import { assertOptions } from "./calls.js";
import { checkBatching, checkCallOptions, checkPredictOptions, type PredictOptions } from "./options.js";

/** Options of {@link PredictionClient.predictMany}. */
export interface PredictManyOptions<OnError extends "throw" | "yield" = "throw" | "yield"> extends Omit<PredictOptions, "batch"> {
  /** Requests in flight at most. @defaultValue 8 */
  readonly concurrency?: number | undefined;
  /** Rows of one request: items share requests of up to so many. @defaultValue each item is a call of its own, batched as the client is */
  readonly batchRows?: number | undefined;
  /** Results in the order of the items, or as they come. @defaultValue true */
  readonly ordered?: boolean | undefined;
  /** What a failed item does: end the iteration with its error, or take its place in it. @defaultValue `"throw"` */
  readonly onError?: OnError | undefined;
  /** Items before this index are passed over, to go on where an earlier run has stopped; indexes count from the first item all the same. @defaultValue 0 */
  readonly startIndex?: number | undefined;
}

/** The result of one item. */
export interface PredictManyResult<Result = PredictResult> {
  /** The item's place among the inputs, from 0. */
  readonly index: number;
  readonly result: Result;
}

/** The error of one item. */
export interface PredictManyError {
  /** The item's place among the inputs, from 0. */
  readonly index: number;
  readonly error: Error;
}

/** What an iteration gives out: results, and errors where they are not thrown. */
export type PredictManyItem<OnError extends "throw" | "yield" = "yield", Result = PredictResult> =
  | PredictManyResult<Result>
  | ("yield" extends OnError ? PredictManyError : never);

/** Defaults of {@link PredictManyOptions}. */
export const predictManyDefaults = Object.freeze({ concurrency: 8, ordered: true, onError: "throw", startIndex: 0 } as const);

/** How long items wait for others to share a request with; requests are in flight meanwhile. */
const batchDelayMs = 10;

/** Items that are passed over before others get a turn. */
const itemsPerTurn = 1024;

/** More than rounding makes of a sum of parts. */
const sumError = 1e-6;

/** Calls predict for one item. */
export type PredictOne<Inputs, Result> = (
  inputs: Inputs,
  options: PredictOptions & { readonly batching?: BatchingOptions },
) => Promise<Result>;

/** What may be predicted: items one after the other. */
export type Items<Inputs = PredictInputs> = Iterable<Inputs> | AsyncIterable<Inputs>;

/**
 * Check the options of a run.
 *
 * @throws TypeError or RangeError if one is malformed.
 */
function checkPredictManyOptions(options: PredictManyOptions): void {
  const { concurrency, batchRows, ordered, onError, startIndex } = options;
  for (const [name, count, min] of [
    ["concurrency", concurrency, 1],
    ["batchRows", batchRows, 1],
    ["startIndex", startIndex, 0],
  ] as const) {
    if (count !== undefined) assertCount(name, count, min);
  }
  if (ordered !== undefined && typeof ordered !== "boolean") throw new TypeError(`ordered: expected a boolean, got ${describe(ordered)}`);
  if (onError !== undefined && onError !== "throw" && onError !== "yield")
    throw new TypeError(`onError: expected "throw" or "yield", got ${describe(onError)}`);
  checkCallOptions(options);
  checkPredictOptions(options);
}

/**
 * Opens the iterator over the items.
 *
 * @throws TypeError if they are not iterable.
 */
function openerOf<Inputs>(items: Items<Inputs>): () => Iterator<Inputs> | AsyncIterator<Inputs> {
  const { [Symbol.asyncIterator]: asyncIterator, [Symbol.iterator]: iterator } = (items ?? {}) as Partial<
    AsyncIterable<Inputs> & Iterable<Inputs>
  >;
  const open: (() => Iterator<Inputs> | AsyncIterator<Inputs>) | undefined = asyncIterator ?? iterator;
  if (typeof open !== "function" || typeof items === "string")
    throw new TypeError(`inputs: expected an iterable or async iterable of inputs, got ${describe(items)}`);
  return () => open.call(items as Iterable<Inputs> & AsyncIterable<Inputs>);
}

/**
 * Predict items while their results are asked for.
 *
 * Items are taken while those under way, or finished and not asked for yet, come to fewer requests than `concurrency`: one each, or with
 * `batchRows` a part of one. So no item's time passes while it waits for the answers of others. When the iteration ends early, the calls
 * under way are aborted and the source is closed.
 *
 * @throws TypeError or RangeError if the options are malformed or the items not iterable.
 */
export function predictMany<Inputs, Result, OnError extends "throw" | "yield">(
  predict: PredictOne<Inputs, Result>,
  items: Items<Inputs>,
  options: PredictManyOptions<OnError>,
  batching?: BatchingOptions,
): AsyncGenerator<PredictManyItem<OnError, Result>, void, undefined> {
  assertOptions(options);
  checkPredictManyOptions(options);
  // Errors are thrown instead of given out unless the options say otherwise, which the type repeats.
  return results(predict, openerOf(items), options, batchingOf(options, batching)) as AsyncGenerator<
    PredictManyItem<OnError, Result>,
    void,
    undefined
  >;
}

async function* results<Inputs, Result>(
  predict: PredictOne<Inputs, Result>,
  open: () => Iterator<Inputs> | AsyncIterator<Inputs>,
  options: PredictManyOptions,
  batching: BatchingOptions | undefined,
): AsyncGenerator<PredictManyItem<"yield", Result>, void, undefined> {
  const run = new Run(predict, open(), options, batching);
  try {
    for (;;) {
      const item = await run.next();
      if (item === undefined) return;
      if ("error" in item && options.onError !== "yield") throw item.error;
      yield item;
    }
  } finally {
    await run.end();
  }
}

/** One iteration: what was taken from the source and has not been given out. */
class Run<Inputs, Result> {
  readonly #predict: PredictOne<Inputs, Result>;
  readonly #source: Iterator<Inputs> | AsyncIterator<Inputs>;
  readonly #callOptions: PredictOptions & { readonly batching?: BatchingOptions };
  /** How the items share requests with one another; absent where they share them as other calls do. */
  readonly #sharing: BatchingOptions | undefined;
  readonly #ordered: boolean;
  readonly #startIndex: number;
  readonly #concurrency: number;
  readonly #signal: AbortSignal | undefined;
  readonly #ended = new AbortController();
  readonly #releaseSignal: (() => void) | undefined;
  /** Items under way, and finished ones that were not asked for: their indexes, and what part of a request each takes, as far as is known. */
  readonly #held = new Map<number, number>();
  /** The sum of these parts. */
  #heldRequests = 0;
  /** Finished items that may be given out. */
  readonly #ready: PredictManyItem<"yield", Result>[] = [];
  /** Finished items that come after one under way. */
  readonly #early = new Map<number, PredictManyItem<"yield", Result>>();
  #nextIndex: number;
  /** Items that came from the source, those passed over included. */
  #taken = 0;
  #isSourceDone = false;
  #sourceError: { readonly error: unknown } | undefined;
  #isTaking = false;
  /** Whether the source is being asked for an item. */
  #isAsking = false;
  #wake: (() => void) | undefined;

  constructor(
    predict: PredictOne<Inputs, Result>,
    source: Iterator<Inputs> | AsyncIterator<Inputs>,
    options: PredictManyOptions,
    batching: BatchingOptions | undefined,
  ) {
    const { concurrency = predictManyDefaults.concurrency, batchRows, ordered, onError: _, startIndex, ...callOptions } = options;
    const { signal, metadata } = callOptions;
    this.#predict = predict;
    this.#source = source;
    this.#ordered = ordered ?? predictManyDefaults.ordered;
    this.#startIndex = startIndex ?? predictManyDefaults.startIndex;
    this.#nextIndex = this.#startIndex;
    this.#concurrency = concurrency;
    this.#sharing = batchRows === undefined ? undefined : batching;
    this.#signal = signal;
    this.#releaseSignal =
      signal &&
      onAbort(signal, () => {
        this.#ended.abort(signal.reason);
        this.#notify();
      });
    this.#callOptions = {
      ...callOptions,
      ...(batching === undefined ? {} : { batching }),
      // One record that cannot change: calls with the same metadata share requests.
      ...(metadata === undefined ? {} : { metadata: Object.freeze({ ...metadata }) }),
      signal: this.#ended.signal,
    };
  }

  /** The next item to give out; `undefined` after the last. */
  async next(): Promise<PredictManyItem<"yield", Result> | undefined> {
    for (;;) {
      this.#signal?.throwIfAborted();
      void this.#take();
      const item = this.#ready.shift();
      if (item !== undefined) {
        this.#release(item.index);
        void this.#take();
        return item;
      }
      if (this.#sourceError !== undefined && this.#held.size === 0) throw this.#sourceError.error;
      if (this.#isSourceDone && this.#held.size === 0) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Abort what is under way, and close the source. */
  async end(): Promise<void> {
    this.#releaseSignal?.();
    this.#ended.abort(new Error("the iteration has ended"));
    if (this.#isSourceDone) return;
    this.#isSourceDone = true;
    const closed = this.#closeSource();
    // A generator closes after the item it is asked for, which may never come.
    await (this.#isAsking ? Promise.race([closed, eventLoopTurn()]) : closed);
  }

  async #closeSource(): Promise<void> {
    try {
      await this.#source.return?.();
    } catch {
      // The source's own trouble with its end: the iteration has ended already, with what its consumer is to see.
    }
  }

  /** Take items from the source, one at a time, while there is room. */
  async #take(): Promise<void> {
    if (this.#isTaking) return;
    this.#isTaking = true;
    try {
      while (this.#isTakingOn() && this.#heldRequests < this.#concurrency - sumError) await this.#takeOne();
    } catch (error) {
      this.#isSourceDone = true;
      this.#sourceError = { error };
    }
    this.#isTaking = false;
    this.#notify();
  }

  /** Whether items are still wanted, and may come. */
  #isTakingOn(): boolean {
    return !this.#isSourceDone && !this.#ended.signal.aborted;
  }

  async #takeOne(): Promise<void> {
    const { done, value } = await this.#ask();
    // The iteration may have ended meanwhile.
    if (!this.#isTakingOn()) return;
    if (done === true) {
      this.#isSourceDone = true;
      return;
    }
    if (this.#taken >= this.#startIndex) this.#start(value, this.#taken);
    this.#taken++;
    // Passing over millions of items must not keep all else waiting.
    if (this.#taken <= this.#startIndex && this.#taken % itemsPerTurn === 0) await eventLoopTurn();
  }

  async #ask(): Promise<IteratorResult<Inputs, unknown>> {
    this.#isAsking = true;
    try {
      return await this.#source.next();
    } finally {
      this.#isAsking = false;
    }
  }

  #start(inputs: Inputs, index: number): void {
    this.#hold(index, 1);
    this.#predict(inputs, this.#optionsOf(index)).then(
      (result) => this.#finish({ index, result }),
      (error: unknown) => this.#finish({ index, error: error instanceof Error ? error : new Error(String(error), { cause: error }) }),
    );
  }

  #finish(item: PredictManyItem<"yield", Result>): void {
    if (!this.#ordered) this.#ready.push(item);
    else {
      this.#early.set(item.index, item);
      for (let next = this.#early.get(this.#nextIndex); next !== undefined; next = this.#early.get(this.#nextIndex)) {
        this.#early.delete(this.#nextIndex++);
        this.#ready.push(next);
      }
    }
    this.#notify();
  }

  #optionsOf(index: number): PredictOptions & { readonly batching?: BatchingOptions } {
    const run = this.#sharing;
    if (run === undefined) return this.#callOptions;
    const onShared = (part: number) => {
      // A middleware may send what has been given out already.
      if (!this.#held.has(index)) return;
      this.#hold(index, part);
      void this.#take();
    };
    const batching: RunBatchingOptions = { run, onShared };
    return { ...this.#callOptions, batching };
  }

  /** An item is held, and takes this part of a request. */
  #hold(index: number, part: number): void {
    this.#heldRequests += part - (this.#held.get(index) ?? 0);
    this.#held.set(index, part);
  }

  #release(index: number): void {
    this.#hold(index, 0);
    this.#held.delete(index);
  }

  #notify(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}

function eventLoopTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/**
 * How items share requests: one object for all of a run, for calls with the same one do. How many items wait is limited by the run.
 *
 * @param base - How other calls share requests.
 * @throws RangeError if `batchRows` is above the largest of its `allowedBatchRows` or below the smallest.
 */
function batchingOf({ batchRows, concurrency }: PredictManyOptions, base: BatchingOptions | undefined): BatchingOptions | undefined {
  if (batchRows === undefined) return base;
  const batching = {
    ...base,
    maxBatchRows: batchRows,
    maxInFlightBatches: concurrency ?? predictManyDefaults.concurrency,
    maxDelayMs: batchDelayMs,
    maxQueuedRows: Number.MAX_SAFE_INTEGER,
  };
  checkBatching(batching);
  return batching;
}
