/** Faults that tests put into the embedded server: which calls they strike and what they do to them. */
import { maxTimerMs } from "../deadline.js";
import { type StatusCode, statusCodes } from "../errors.js";
import { assertOptionNames, type OptionNames } from "../option-checks.js";
import { describeNotPlain, isPlainObject } from "../plain-object.js";
import { describe } from "../tensor/values.js";
import type { ServerMethod, ServerRequest } from "./request-log.js";

/** Which calls a fault may strike: those that fit everything given. */
export interface FaultMatch {
  readonly transport?: ServerRequest["transport"] | undefined;
  readonly method?: ServerMethod | undefined;
  /** Name of the model that is asked. */
  readonly model?: string | undefined;
}

/**
 * What happens to calls instead of, or before, their answer.
 *
 * `code`, `closeConnection` and `corrupt` exclude each other; `delayMs` goes with each of them and alone. The model runs only for an answer
 * that is sent, whole or corrupt.
 */
export interface Fault {
  /** Which calls it may strike. @defaultValue every call */
  readonly match?: FaultMatch | ((request: ServerRequest) => boolean) | undefined;
  /** Wait this long before answering, failing or closing; `close()` of the server ends the wait. @defaultValue 0 */
  readonly delayMs?: number | undefined;
  /** Answer with this error; over REST with its HTTP status and a JSON body. */
  readonly code?: Exclude<StatusCode, "OK"> | undefined;
  /** Words of the error. @defaultValue that a fault was injected */
  readonly message?: string | undefined;
  /** Destroy the TCP connection the call came on, with all other calls on it. */
  readonly closeConnection?: true | undefined;
  /**
   * Replace the bytes of the answer by as many of 0xFF, at least one, which no decoder takes; status and headers stay. A call that the
   * server refuses gets its error as it is.
   */
  readonly corrupt?: true | undefined;
  /** How many calls it strikes; then it is gone. @defaultValue unlimited */
  readonly times?: number | undefined;
  /** Chance, from 0 to 1, that it strikes a call it matches. @defaultValue 1 */
  readonly probability?: number | undefined;
}

/** A fault that was added. */
export interface AddedFault {
  /** How many calls it has struck. */
  readonly hits: number;
  /** Takes it out; calls that it has struck already stay struck. Twice is harmless. */
  remove(): void;
}

/** The faults of a server. Of several that match a call, the first added that strikes counts. */
export interface Faults {
  /**
   * Adds a fault for the calls that arrive from now on, and those that wait in a paused server.
   *
   * @throws TypeError or RangeError if it is malformed or does nothing.
   */
  add(fault: Fault): AddedFault;
  /** Takes all faults out. */
  clear(): void;
}

/** Words of an error for which the fault has none. */
export const defaultFaultMessage = "a fault injected into the embedded server";

interface ActiveFault {
  readonly fault: Fault;
  hits: number;
}

/** The faults of a server, and the draw for each call. */
export class FaultList implements Faults {
  readonly #random: () => number;
  #active: readonly ActiveFault[] = [];

  /** @param random - Gives numbers from 0 to below 1. */
  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  add(fault: Fault): AddedFault {
    assertFault(fault);
    const active: ActiveFault = { fault: { ...fault }, hits: 0 };
    this.#active = [...this.#active, active];
    return {
      get hits() {
        return active.hits;
      },
      remove: () => this.#remove(active),
    };
  }

  clear(): void {
    this.#active = [];
  }

  /**
   * The fault that strikes a call, if one does.
   *
   * @throws What a function given as `match` throws; TypeError if it answers neither true nor false.
   */
  strike(request: ServerRequest): Fault | undefined {
    for (const active of this.#active) {
      const { match, times = Infinity, probability = 1 } = active.fault;
      if (!matches(match, request) || this.#random() >= probability) continue;
      active.hits++;
      if (active.hits >= times) this.#remove(active);
      return active.fault;
    }
    return undefined;
  }

  #remove(gone: ActiveFault): void {
    this.#active = this.#active.filter((active) => active !== gone);
  }
}

function matches(match: Fault["match"], request: ServerRequest): boolean {
  if (match === undefined) return true;
  if (typeof match === "function") {
    const verdict: unknown = match(request);
    // A Promise would count as true whatever comes of it.
    if (typeof verdict !== "boolean") throw new TypeError(`match: expected true or false, got ${describe(verdict)}`);
    return verdict;
  }
  const { transport = request.transport, method = request.method, model = request.model } = match;
  return transport === request.transport && method === request.method && model === request.model;
}

// Checks

const faultNames: OptionNames<Fault> = {
  known: {
    match: true,
    delayMs: true,
    code: true,
    message: true,
    closeConnection: true,
    corrupt: true,
    times: true,
    probability: true,
  },
};

const matchNames: OptionNames<FaultMatch> = { known: { transport: true, method: true, model: true } };

const transports: Readonly<Record<ServerRequest["transport"], true>> = { grpc: true, rest: true };

const methods: Readonly<Record<ServerMethod, true>> = {
  predict: true,
  classify: true,
  regress: true,
  multiInference: true,
  getModelMetadata: true,
  getModelStatus: true,
  reloadConfig: true,
};

function assertFault(fault: Fault): void {
  assertPlainObject("fault", fault);
  assertOptionNames(fault, faultNames);
  assertMatch(fault.match);
  assertEffect(fault);
  const { delayMs, times, probability } = fault;
  assertNumber("delayMs", delayMs, `a number of milliseconds from 0 to ${maxTimerMs}`, (value) => value >= 0 && value <= maxTimerMs);
  assertNumber("times", times, "a whole number from 1", (value) => Number.isSafeInteger(value) && value >= 1);
  assertNumber("probability", probability, "a number from 0 to 1", (value) => value >= 0 && value <= 1);
}

function assertMatch(match: Fault["match"]): void {
  if (match === undefined || typeof match === "function") return;
  assertPlainObject("match", match);
  assertOptionNames(match, matchNames);
  assertOneOf("match.transport", match.transport, Object.keys(transports));
  assertOneOf("match.method", match.method, Object.keys(methods));
  if (match.model !== undefined && typeof match.model !== "string")
    throw new TypeError(`match.model: expected a string, got ${describe(match.model)}`);
}

function assertEffect(fault: Fault): void {
  const effects = (["code", "closeConnection", "corrupt"] as const).filter((name) => fault[name] !== undefined);
  if (effects.length > 1) throw new TypeError(`fault: ${effects.join(" and ")} exclude each other`);
  if (effects.length === 0 && fault.delayMs === undefined)
    throw new TypeError("fault: expected one of code, closeConnection and corrupt, or delayMs, got none");
  const failures = statusCodes.filter((code) => code !== "OK");
  assertOneOf("code", fault.code, failures);
  if (fault.message !== undefined && typeof fault.message !== "string")
    throw new TypeError(`message: expected a string, got ${describe(fault.message)}`);
  if (fault.message !== undefined && fault.code === undefined) throw new TypeError("message: goes only with code");
  for (const name of ["closeConnection", "corrupt"] as const) {
    if (fault[name] !== undefined && fault[name] !== true) throw new TypeError(`${name}: expected true, got ${describe(fault[name])}`);
  }
}

function assertPlainObject(name: string, value: unknown): void {
  if (!isPlainObject(value)) throw new TypeError(`${name}: expected a plain object, got ${describeNotPlain(value)}`);
}

function assertOneOf(name: string, value: unknown, known: readonly string[]): void {
  if (value === undefined || known.includes(value as string)) return;
  throw new TypeError(`${name}: expected one of ${known.join(", ")}, got ${describe(value)}`);
}

function assertNumber(name: string, value: unknown, expected: string, isValid: (value: number) => boolean): void {
  if (value === undefined) return;
  if (typeof value !== "number") throw new TypeError(`${name}: expected ${expected}, got ${describe(value)}`);
  if (!isValid(value)) throw new RangeError(`${name}: expected ${expected}, got ${value}`);
}
