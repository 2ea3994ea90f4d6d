/** One call among those that share requests: its place in the queue, its deadline and its outcome. */
import { passedBeforeAnswer, passedBeforeSending } from "../deadline.js";
import type { RpcError, StatusCode } from "../errors.js";
import type { RunningCall, RunningCalls } from "../running-calls.js";
import type { PredictResult, TensorMap, TransportPredictOptions } from "../transport/transport.js";
import type { BatchMember } from "./batcher.js";

/** Where a caller waits for its batch. */
export interface CallerQueue {
  /** All calls, waiting and under way. */
  readonly running: RunningCalls;
  /** A caller gives up; false if it does not wait there any more. */
  remove(caller: Caller): boolean;
  /** An error that no server made. */
  error(code: StatusCode, text: string): RpcError;
}

/** What a caller sends. */
interface CallInputs {
  readonly inputs: TensorMap;
  readonly options: TransportPredictOptions;
  readonly size: BatchMember;
}

/** How a caller is told what became of its call. */
interface Outcome {
  resolve(result: PredictResult): void;
  reject(error: unknown): void;
}

/** A call of a caller, from the queue to its end. */
export class Caller implements BatchMember, RunningCall {
  readonly inputs: TensorMap;
  readonly options: TransportPredictOptions;
  readonly rows: number;
  readonly bytes: number;
  readonly lastRowBytes: number;
  readonly deadline: number;
  isSettled = false;
  isAnswered = false;
  /** Runs when the caller gives up while its request is under way. */
  onLeave: (() => void) | undefined;
  readonly #queue: CallerQueue;
  readonly #outcome: Outcome;

  constructor(queue: CallerQueue, { inputs, options, size }: CallInputs, outcome: Outcome) {
    this.inputs = inputs;
    this.options = options;
    this.rows = size.rows;
    this.bytes = size.bytes;
    this.lastRowBytes = size.lastRowBytes;
    this.deadline = options.deadline;
    this.#queue = queue;
    this.#outcome = outcome;
    queue.running.add(this);
  }

  /** The answer is there, unless the caller has given up. */
  succeed(result: PredictResult): void {
    if (this.isSettled) return;
    this.isAnswered = true;
    this.#settle();
    this.#outcome.resolve(result);
  }

  /** The call has failed, unless the caller has given up. */
  fail(error: unknown): void {
    if (this.isSettled) return;
    this.#settle();
    this.#outcome.reject(error);
  }

  /** Leave the queue, or the request that is under way, without a word. */
  giveUp(): void {
    this.#settle();
    if (!this.#queue.remove(this)) this.onLeave?.();
  }

  expire(): void {
    this.giveUp();
    const text = this.onLeave === undefined ? passedBeforeSending : passedBeforeAnswer;
    this.#outcome.reject(this.#queue.error("DEADLINE_EXCEEDED", text));
  }

  cancel(): void {
    this.giveUp();
    this.#outcome.reject(this.#queue.error("CANCELLED", "the transport is closed"));
  }

  #settle(): void {
    this.isSettled = true;
    this.#queue.running.delete(this);
  }
}
