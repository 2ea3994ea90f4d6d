/** At most so many calls at once to one endpoint; the rest wait their turn in the client. */
import { atDeadline, minRemainingMs, passedBeforeSending, untilAborted } from "../deadline.js";
import { knownFailure } from "../error-hints.js";
import { isServingError, RpcError, type StatusCode } from "../errors.js";
import type { Transport } from "../transport/transport.js";
import { type AnyCall, transportOf } from "./any-call.js";

/** Options of a client's `concurrency`: how many calls one endpoint gets at once, and what becomes of the rest. */
export interface ConcurrencyOptions {
  /**
   * Calls that run at once at one endpoint at most: fewer for some seconds after the server said that its threads are used up.
   *
   * @defaultValue unlimited until the server says so; then learned
   */
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
  /** Reject the calls that wait, and none that runs, with an error that {@link isHandedBack} knows: they can go to another endpoint. */
  handBack(): void;
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
 * All methods count alike: TensorFlow Serving refuses whichever call finds no free thread. A refused call waits for the end of another
 * one and is then sent again, ahead of those that never ran.
 */
export function withConcurrencyLimit(next: Transport, endpoint: LimitedEndpoint, options: ConcurrencyOptions = {}): LimitedTransport {
  const calls = new LimitedCalls(next, endpoint, options);
  return {
    ...transportOf((call) => calls.run(call), { needsSignature: next.needsSignature ?? false, close: () => calls.close() }),
    get inFlight() {
      return calls.inFlight;
    },
    get queued() {
      return calls.queued;
    },
    handBack: () => calls.handBack(),
  };
}

/** Errors of calls that were handed back. */
const handedBack = new WeakSet<object>();

/** Whether a call failed only because {@link LimitedTransport.handBack} took it from the queue. */
export function isHandedBack(error: unknown): boolean {
  return typeof error === "object" && error !== null && handedBack.has(error);
}

/** A call that waits for its turn. */
interface WaitingCall {
  readonly call: AnyCall;
  /** Leave the queue to be sent. */
  start(): void;
  /** Leave the queue with an error. */
  fail(error: RpcError): void;
}

/** How a call waits. */
interface Turn {
  readonly line: Set<WaitingCall>;
  /** When it gives up, unless its deadline comes first. */
  readonly waitsUntil: number;
  /** What the server said when it refused the call before. */
  readonly refusal?: unknown;
}

/** The calls to one endpoint: those that run, and those that wait. While one waits at least one runs, and its end lets others start. */
class LimitedCalls {
  readonly #next: Transport;
  readonly #endpoint: LimitedEndpoint;
  readonly #limit: InFlightLimit;
  readonly #maxQueued: number;
  readonly #queueTimeoutMs: number;
  /** Those that the server had no thread for, in the order of the refusals: they go first. */
  readonly #refused = new Set<WaitingCall>();
  /** Those that were not sent yet, in the order they came; here and above a call that gives up is taken out wherever it stands. */
  readonly #waiting = new Set<WaitingCall>();
  #inFlight = 0;
  #isClosed = false;
  #growthTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(next: Transport, endpoint: LimitedEndpoint, options: ConcurrencyOptions) {
    this.#next = next;
    this.#endpoint = endpoint;
    this.#limit = new InFlightLimit(options.maxInFlight);
    this.#maxQueued = options.maxQueued ?? concurrencyDefaults.maxQueued;
    this.#queueTimeoutMs = options.queueTimeoutMs ?? Number.POSITIVE_INFINITY;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get queued(): number {
    return this.#refused.size + this.#waiting.size;
  }

  /** Send a call now or when its turn comes. */
  run<Result>(call: AnyCall<Result>): Promise<Result> {
    // The limit may have grown since a call ended, and those who wait come first.
    this.#startWaiting();
    return this.#inFlight < this.#limit.current() ? this.#sent(call) : this.#queued(call);
  }

  handBack(): void {
    const text = `the call was handed back while it waited for its turn: connections to ${this.#endpoint.address} fail`;
    this.#failWaiting((call) => {
      const error = this.#errorOf(call, "UNAVAILABLE", text);
      handedBack.add(error);
      return error;
    });
  }

  close(): Promise<void> {
    this.#isClosed = true;
    this.#failWaiting((call) => this.#errorOf(call, "CANCELLED", "the transport is closed"));
    return this.#next.close();
  }

  #failWaiting(errorOf: (call: AnyCall) => RpcError): void {
    for (const line of [this.#refused, this.#waiting]) for (const waiting of line) waiting.fail(errorOf(waiting.call));
  }

  #sent<Result>(call: AnyCall<Result>): Promise<Result> {
    const { decreases } = this.#limit;
    this.#inFlight++;
    return sentTo(this.#next, call).then(
      (value) => {
        this.#inFlight--;
        this.#startWaiting();
        return value;
      },
      (error: unknown) => {
        this.#inFlight--;
        if (isOutOfThreads(error)) {
          this.#limit.refused(this.#inFlight, decreases);
          if (this.#mayWaitAgain(call)) return this.#putBack(call, error);
        }
        this.#startWaiting();
        this.#watchGrowth();
        throw error;
      },
    );
  }

  /** Whether a call that found no thread may wait for the end of another; without one, the server would be asked again at once. */
  #mayWaitAgain({ method, options }: AnyCall): boolean {
    if (this.#isClosed || options.retry === false || method === "reloadConfig") return false;
    return this.#inFlight >= this.#limit.current();
  }

  #startWaiting(): void {
    if (this.queued === 0) return;
    for (const line of [this.#refused, this.#waiting]) {
      // Each takes itself out of the set, which its iterator allows.
      for (const waiting of line) {
        if (this.#inFlight >= this.#limit.current()) return;
        waiting.start();
      }
    }
  }

  #queued<Result>(call: AnyCall<Result>): Promise<Result> {
    // One that was aborted before hears its own reason, whatever else stands against it.
    const refusal = call.options.signal?.aborted === true ? undefined : this.#queueRefusal(call);
    if (refusal !== undefined) return Promise.reject(refusal);
    return this.#wait(call, { line: this.#waiting, waitsUntil: performance.now() + this.#queueTimeoutMs });
  }

  #putBack<Result>(call: AnyCall<Result>, refusal: unknown): Promise<Result> {
    return this.#wait(call, { line: this.#refused, waitsUntil: Number.POSITIVE_INFINITY, refusal });
  }

  /** Why a call cannot even wait. */
  #queueRefusal(call: AnyCall): RpcError | undefined {
    if (this.#isClosed) return this.#errorOf(call, "CANCELLED", "the transport is closed");
    if (this.#waiting.size < this.#maxQueued) return undefined;
    return this.#errorOf(call, "RESOURCE_EXHAUSTED", `the client's queue is full: ${this.#load()}`);
  }

  /** Line a call up until it is sent or leaves with an error. */
  #wait<Result>(call: AnyCall<Result>, { line, waitsUntil, refusal }: Turn): Promise<Result> {
    const { deadline, signal } = call.options;
    return untilAborted<Result>(signal, (resolve, reject) => {
      const waiting: WaitingCall = {
        call,
        start: () => {
          if (deadline - performance.now() < minRemainingMs) return waiting.fail(this.#lateError(call, refusal));
          leave();
          this.#sent(call).then(resolve, reject);
        },
        fail: (error) => {
          leave();
          reject(error);
        },
      };
      const stopTimer = atDeadline(Math.min(deadline, waitsUntil), () => {
        waiting.fail(deadline <= waitsUntil ? this.#lateError(call, refusal) : this.#tiredError(call));
      });
      const leave = () => {
        line.delete(waiting);
        stopTimer();
        if (this.queued === 0) this.#stopWatchingGrowth();
      };
      line.add(waiting);
      this.#watchGrowth();
      return leave;
    });
  }

  /** While calls wait, start those that the limit's growth allows: until a call ends or comes, nothing else does. */
  #watchGrowth(): void {
    if (this.queued === 0 || this.#growthTimer !== undefined) return;
    const growsInMs = this.#limit.growsInMs();
    if (growsInMs === undefined) return;
    this.#growthTimer = setTimeout(() => {
      this.#growthTimer = undefined;
      this.#startWaiting();
      this.#watchGrowth();
    }, Math.ceil(growsInMs));
    this.#growthTimer.unref();
  }

  #stopWatchingGrowth(): void {
    clearTimeout(this.#growthTimer);
    this.#growthTimer = undefined;
  }

  #lateError(call: AnyCall, refusal: unknown): RpcError {
    if (refusal === undefined) return this.#errorOf(call, "DEADLINE_EXCEEDED", passedBeforeSending);
    return this.#errorOf(call, "DEADLINE_EXCEEDED", `${passedBeforeSending} again: the server had no thread for it`, refusal);
  }

  #tiredError(call: AnyCall): RpcError {
    return this.#errorOf(call, "RESOURCE_EXHAUSTED", `waited ${this.#queueTimeoutMs} ms in the client's queue: ${this.#load()}`);
  }

  /** How busy the endpoint is, for errors; more run than are allowed after the limit went down. */
  #load(): string {
    const { address } = this.#endpoint;
    return `calls running at ${address}: ${this.#inFlight}, allowed at once: ${this.#limit.current()}, waiting: ${this.queued}`;
  }

  #errorOf({ method, spec }: AnyCall, code: StatusCode, serverMessage: string, cause?: unknown): RpcError {
    const { address, transport } = this.#endpoint;
    return new RpcError({ code, method, modelSpec: spec, endpoint: address, transport, serverMessage, cause });
  }
}

/** How fast a limit that was decreased grows again. */
const msPerGrowth = 1000;

/** How many calls may run at once: what refusals teach, but never more than a fixed number where there is one. */
class InFlightLimit {
  readonly #most: number;
  /** What was allowed right after the last decrease. */
  #calls = Number.POSITIVE_INFINITY;
  #decreasedAt = 0;
  #decreases = 0;

  constructor(most = Number.POSITIVE_INFINITY) {
    this.#most = most;
  }

  /** How often it was halved; a call notes it when it is sent. */
  get decreases(): number {
    return this.#decreases;
  }

  /** Calls that may run at once now. */
  current(): number {
    if (this.#calls === Number.POSITIVE_INFINITY) return this.#most;
    return Math.min(this.#calls + Math.floor((performance.now() - this.#decreasedAt) / msPerGrowth), this.#most);
  }

  /** Time until one more call may run; `undefined` where that will not change. */
  growsInMs(): number | undefined {
    if (this.current() >= this.#most) return undefined;
    return msPerGrowth - ((performance.now() - this.#decreasedAt) % msPerGrowth);
  }

  /**
   * Go down after a refusal: to half of what was in flight, unless the refused call was sent before the last decrease, for one burst brings
   * many such refusals. Those say only that the server takes no more than what still runs, and a fixed limit is not halved for any.
   *
   * @param inFlight - Calls that still run, without the refused one.
   * @param decreasesWhenSent - What `decreases` was when the refused call was sent.
   */
  refused(inFlight: number, decreasesWhenSent: number): void {
    const isFixed = this.#most < Number.POSITIVE_INFINITY;
    if (!isFixed && decreasesWhenSent === this.#decreases) {
      this.#decreases++;
      this.#goDownTo(Math.max(1, Math.floor((inFlight + 1) / 2)));
    } else if (inFlight > 0 && inFlight < this.current()) this.#goDownTo(inFlight);
  }

  #goDownTo(calls: number): void {
    this.#calls = calls;
    this.#decreasedAt = performance.now();
  }
}

/** Whether the server refused a call because all threads of its gRPC side (`--grpc_max_threads`) have one. */
function isOutOfThreads(error: unknown): boolean {
  return isServingError(error, "RpcError") && knownFailure(error.serverMessage, [error.code])?.outOfThreads === true;
}

/** A call on its way; a transport that throws instead of rejecting counts as one that rejects. */
function sentTo<Result>(next: Transport, call: AnyCall<Result>): Promise<Result> {
  try {
    return call.send(next);
  } catch (error) {
    return Promise.reject(error);
  }
}
