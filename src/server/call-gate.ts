/** What every call of the embedded server goes through, whichever port it came to: the log, pauses and faults. */
import { defaultFaultMessage, FaultList } from "./faults.js";
import { refusal } from "./refusal.js";
import { logRequest, type ServerRequest } from "./request-log.js";
import { endOf } from "./servable-handle.js";

/** Who waits for an answer. */
export interface Caller {
  /** Whether nobody waits for the answer any more. */
  isGone(): boolean;
  /** Runs something when nobody waits any more, unless what comes back is called before. */
  onGone(run: () => void): () => void;
}

/** A call as a front hands it over. */
export interface GatedCall<Answer> extends Caller {
  readonly request: ServerRequest;
  /** Runs what was asked for. */
  answer(): Promise<Answer>;
  /** An answer of the same size that no decoder takes. */
  corrupt(answer: Answer): Answer;
  /** Destroys the connection the call came on. */
  closeConnection(): void;
}

/** Ends the wait of a call. */
type EndWait = () => void;

/** The way of all calls of one server. */
export class CallGate {
  /** gRPC calls that run at once. */
  readonly #maxGrpcCalls: number;
  #grpcCalls = 0;
  readonly faults = new FaultList();
  /** The latest calls, newest last. */
  readonly requests: ServerRequest[] = [];
  readonly #held = new Set<EndWait>();
  readonly #delayed = new Set<EndWait>();
  #isPaused = false;
  #isClosing = false;

  /** @param maxGrpcThreads - As the real server counts them: one of them runs no calls. */
  constructor(maxGrpcThreads = Number.POSITIVE_INFINITY) {
    this.#maxGrpcCalls = maxGrpcThreads - 1;
  }

  /** Holds the answers of all calls, those that run included. */
  pause(): void {
    this.#isPaused = !this.#isClosing;
  }

  /** Lets the held calls go on. */
  resume(): void {
    this.#isPaused = false;
    for (const end of this.#held) end();
  }

  /** Holds and delays nothing any more, so that a server that closes answers what waits here. */
  close(): void {
    this.#isClosing = true;
    this.resume();
    for (const end of this.#delayed) end();
  }

  /** Resolves when answers may be given, or nobody waits for this one any more. */
  async hold(caller: Caller): Promise<void> {
    if (this.#isPaused) await this.#wait(this.#held, caller);
  }

  /** The answer to a call, or nothing where nobody is left to take one. */
  async run<Answer>(call: GatedCall<Answer>): Promise<Answer | undefined> {
    logRequest(this.requests, call.request);
    if (call.request.transport !== "grpc") return this.#pass(call);
    if (this.#grpcCalls >= this.#maxGrpcCalls) throw refusal("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted");
    this.#grpcCalls++;
    const passed = this.#pass(call);
    const free = () => {
      this.#grpcCalls--;
    };
    // At its deadline a call has its answer, and its thread what still runs.
    passed.then(free, (error: unknown) => endOf(error).then(free));
    return passed;
  }

  async #pass<Answer>(call: GatedCall<Answer>): Promise<Answer | undefined> {
    await this.hold(call);
    const answered = this.#answer(call);
    // A pause that came meanwhile holds errors as it holds answers.
    await answered.catch(() => undefined);
    await this.hold(call);
    return answered;
  }

  async #answer<Answer>(call: GatedCall<Answer>): Promise<Answer | undefined> {
    if (call.isGone()) return undefined;
    const fault = this.faults.strike(call.request);
    if (fault === undefined) return call.answer();
    if (fault.delayMs !== undefined && !this.#isClosing) await this.#wait(this.#delayed, call, fault.delayMs);
    if (fault.closeConnection) await this.hold(call);
    if (call.isGone()) return undefined;
    if (fault.code !== undefined) throw refusal(fault.code, fault.message ?? defaultFaultMessage);
    if (fault.closeConnection) {
      call.closeConnection();
      return undefined;
    }
    const answer = await call.answer();
    return fault.corrupt ? call.corrupt(answer) : answer;
  }

  /** Resolves when the wait is ended, its time is up or nobody waits for the call any more. */
  #wait(waiting: Set<EndWait>, caller: Caller, delayMs?: number): Promise<void> {
    if (caller.isGone()) return Promise.resolve();
    return new Promise((resolve) => {
      const end = () => {
        waiting.delete(end);
        clearTimeout(timer);
        stopListening();
        resolve();
      };
      waiting.add(end);
      const stopListening = caller.onGone(end);
      const timer = delayMs === undefined ? undefined : setTimeout(end, delayMs);
    });
  }
}
