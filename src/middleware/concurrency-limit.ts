/** At most so many calls at once to one endpoint; the rest wait their turn in the client. */
import { atDeadline, minRemainingMs, passedBeforeSending, untilAborted } from "../deadline.js";
import { isServingError, RpcError, type StatusCode } from "../errors.js";
import type { Transport } from "../transport/transport.js";
import { type AnyCall, transportOf } from "./any-call.js";

/** Options of a client's `concurrency`: how many calls one endpoint gets at once, and what becomes of the rest. */
export interface ConcurrencyOptions {
  /** Calls that run at once at one endpoint. @defaultValue unlimited until the server says that its threads are used up; then learned */
  readonly maxInFlight?: number | undefined;
  /** Calls that wait for one endpoint; further ones fail at once with `RESOURCE_EXHAUSTED`. @defaultValue 1024 */
  readonly maxQueued?: number | undefined;
  /** How long a call waits for its turn before it fails with `RESOURCE_EXHAUSTED`. @defaultValue as long as the call has */
  readonly queueTimeoutMs?: number | undefined;
}

/** What {@link ConcurrencyOptions} are where they are not given. */
export const concurrencyDefaults = Object.freeze({ maxQueued: 1024 });

/** A transport that knows how busy its endpoint is. */
export interface LimitedTransport extends Transport {
  /** Calls that were sent and have not settled. */
  readonly inFlight: number;
  /** Calls that wait for their turn. */
  readonly queued: number;
}

/** How errors made here name the endpoint. */
export interface LimitedEndpoint {
  /** Address of the server, such as `localhost:8500`. */
  readonly address: string;
  /** Which transport carries its calls: `grpc`, `rest`... */
  readonly transport: string;
}

/**
 * A transport that sends no more calls at once than its endpoint takes; the others wait in the order they came.
 *
 * All methods count alike: TensorFlow Serving refuses whichever call finds no free thread.
 *
 * @param now - The clock of the calls' deadlines; tests have their own.
 */
export function withConcurrencyLimit(
  next: Transport,
  endpoint: LimitedEndpoint,
  options: ConcurrencyOptions = {},
  now = () => performance.now(),
): LimitedTransport {
  const calls = new LimitedCalls(next, endpoint, options, now);
  return {
    ...transportOf((call) => calls.run(call), { needsSignature: next.needsSignature ?? false, close: () => calls.close() }),
    get inFlight() {
      return calls.inFlight;
    },
    get queued() {
      return calls.queued;
    },
  };
}

/** Whether a call has failed because too many waited here or its turn did not come, so that no server was asked. */
export function isQueueRefusal({ code, serverMessage }: RpcError): boolean {
  return code === "RESOURCE_EXHAUSTED" && serverMessage.includes(theQueue);
}

/** Stands in the words of every such failure. */
const theQueue = "the client's queue";

/** A call that waits for its turn. */
interface WaitingCall {
  /** Leave the queue to be sent. */
  start(): void;
  /** Leave the queue with an error. */
  fail(code: StatusCode, text: string): void;
}

/** The calls to one endpoint: those that run, and those that wait. While one waits at least one runs, and its end lets others start. */
class LimitedCalls {
  readonly #next: Transport;
  readonly #endpoint: LimitedEndpoint;
  readonly #limit: InFlightLimit;
  readonly #maxQueued: number;
  readonly #queueTimeoutMs: number;
  readonly #now: () => number;
  /** In the order they came; a call that gives up is taken out wherever it stands. */
  readonly #waiting = new Set<WaitingCall>();
  #inFlight = 0;
  #isClosed = false;

  constructor(next: Transport, endpoint: LimitedEndpoint, options: ConcurrencyOptions, now: () => number) {
    this.#next = next;
    this.#endpoint = endpoint;
    this.#limit = new InFlightLimit(options.maxInFlight, now);
    this.#maxQueued = options.maxQueued ?? concurrencyDefaults.maxQueued;
    this.#queueTimeoutMs = options.queueTimeoutMs ?? Number.POSITIVE_INFINITY;
    this.#now = now;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get queued(): number {
    return this.#waiting.size;
  }

  /** Send a call now or when its turn comes. */
  run<Result>(call: AnyCall<Result>): Promise<Result> {
    // The limit may have grown since a call ended, and those who wait come first.
    if (this.#waiting.size > 0) this.#startWaiting();
    return this.#inFlight < this.#limit.current() ? this.#sent(call) : this.#queued(call);
  }

  close(): Promise<void> {
    this.#isClosed = true;
    for (const waiting of this.#waiting) waiting.fail("CANCELLED", "the transport is closed");
    return this.#next.close();
  }

  #sent<Result>(call: AnyCall<Result>): Promise<Result> {
    const { decreases } = this.#limit;
    this.#inFlight++;
    return sentTo(this.#next, call).then(
      (value) => {
        this.#ended();
        return value;
      },
      (error: unknown) => {
        if (isOutOfThreads(error)) this.#limit.decrease(this.#inFlight, decreases);
        this.#ended();
        throw error;
      },
    );
  }

  #ended(): void {
    this.#inFlight--;
    if (this.#waiting.size > 0) this.#startWaiting();
  }

  #startWaiting(): void {
    // Each takes itself out of the set, which its iterator allows.
    for (const waiting of this.#waiting) {
      if (this.#inFlight >= this.#limit.current()) return;
      waiting.start();
    }
  }

  #queued<Result>(call: AnyCall<Result>): Promise<Result> {
    return untilAborted<Result>(call.options.signal, (resolve, reject) => {
      const refusal = this.#queueRefusal(call);
      if (refusal === undefined) return this.#wait(call, resolve, reject);
      reject(refusal);
      return () => undefined;
    });
  }

  /** Why a call cannot even wait. */
  #queueRefusal(call: AnyCall): RpcError | undefined {
    if (this.#isClosed) return this.#errorOf(call, "CANCELLED", "the transport is closed");
    if (this.#waiting.size < this.#maxQueued) return undefined;
    return this.#errorOf(call, "RESOURCE_EXHAUSTED", `${theQueue} is full: ${this.#load()}`);
  }

  /** Line a call up; what comes back takes it out again. */
  #wait<Result>(call: AnyCall<Result>, resolve: (result: Result) => void, reject: (error: unknown) => void): () => void {
    const { deadline } = call.options;
    const waitsUntil = performance.now() + this.#queueTimeoutMs;
    const waiting: WaitingCall = {
      start: () => {
        if (deadline - this.#now() < minRemainingMs) return waiting.fail("DEADLINE_EXCEEDED", passedBeforeSending);
        leave();
        this.#sent(call).then(resolve, reject);
      },
      fail: (code, text) => {
        leave();
        reject(this.#errorOf(call, code, text));
      },
    };
    const stopTimer = atDeadline(Math.min(deadline, waitsUntil), () => {
      if (deadline <= waitsUntil) waiting.fail("DEADLINE_EXCEEDED", passedBeforeSending);
      else waiting.fail("RESOURCE_EXHAUSTED", `waited ${this.#queueTimeoutMs} ms in ${theQueue}: ${this.#load()}`);
    });
    const leave = () => {
      this.#waiting.delete(waiting);
      stopTimer();
    };
    this.#waiting.add(waiting);
    return leave;
  }

  /** How busy the endpoint is, for errors; more run than are allowed after the limit went down. */
  #load(): string {
    const { address } = this.#endpoint;
    return `calls running at ${address}: ${this.#inFlight}, allowed at once: ${this.#limit.current()}, waiting: ${this.#waiting.size}`;
  }

  #errorOf({ method, spec }: AnyCall, code: StatusCode, serverMessage: string): RpcError {
    const { address, transport } = this.#endpoint;
    return new RpcError({ code, method, modelSpec: spec, endpoint: address, transport, serverMessage });
  }
}

/** How fast a limit that was decreased grows again. */
const msPerGrowth = 1000;

/** How many calls may run at once: a fixed number, or what refusals teach. */
class InFlightLimit {
  readonly #isFixed: boolean;
  readonly #now: () => number;
  #calls: number;
  #decreasedAt = 0;
  #decreases = 0;

  constructor(fixed: number | undefined, now: () => number) {
    this.#isFixed = fixed !== undefined;
    this.#calls = fixed ?? Number.POSITIVE_INFINITY;
    this.#now = now;
  }

  /** How often it went down; a call notes it when it is sent. */
  get decreases(): number {
    return this.#decreases;
  }

  /** Calls that may run at once now. */
  current(): number {
    if (this.#decreases === 0) return this.#calls;
    return this.#calls + Math.floor((this.#now() - this.#decreasedAt) / msPerGrowth);
  }

  /**
   * Go down to half of what is in flight, unless the refused call was sent before the last decrease: it says nothing about the limit
   * since then, and one burst brings many such refusals.
   *
   * @param decreasesWhenSent - What `decreases` was when the refused call was sent.
   */
  decrease(inFlight: number, decreasesWhenSent: number): void {
    if (this.#isFixed || decreasesWhenSent !== this.#decreases) return;
    this.#calls = Math.max(1, Math.floor(inFlight / 2));
    this.#decreasedAt = this.#now();
    this.#decreases++;
  }
}

/** Whether the server refused a call because all threads of its gRPC side (`--grpc_max_threads`) have one. */
function isOutOfThreads(error: unknown): boolean {
  if (!isServingError(error, "RpcError") || error.code !== "RESOURCE_EXHAUSTED") return false;
  return error.serverMessage.startsWith("Server Threadpool Exhausted");
}

/** A call on its way; a transport that throws instead of rejecting counts as one that rejects. */
function sentTo<Result>(next: Transport, call: AnyCall<Result>): Promise<Result> {
  try {
    return call.send(next);
  } catch (error) {
    return Promise.reject(error);
  }
}
