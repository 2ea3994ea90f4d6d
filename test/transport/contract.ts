/**
 * The contract that every transport keeps, as data: what a case is, what it may need, and how its outcome is compared.
 *
 * The suite knows the public entries only, and no test framework, so that it also runs against the packed package.
 */
import assert from "node:assert/strict";
import { inspect } from "node:util";
import { type ClientOptions, isServingError, isTensor, type ModelServerConfig, type PredictionClient } from "../../src/index.js";
import type { SetVersionState } from "../../src/server/index.js";

/** What is called; `client` stands for what all calls share. */
export type ContractMethod =
  | "predict"
  | "classify"
  | "regress"
  | "multiInference"
  | "getModelMetadata"
  | "getModelStatus"
  | "reloadConfig"
  | "waitForModel"
  | "ModelClient.predict"
  | "client";

/** What is right or wrong with a call. */
export type ContractKind =
  | "ok"
  | "wrong model"
  | "wrong version"
  | "wrong label"
  | "wrong signature"
  | "wrong input"
  | "deadline"
  | "abort"
  | "server down";

/** A way to the models. */
export type ContractTransport = "in-memory" | "gRPC" | "REST column" | "REST row";

/** What a real server may lack: JavaScript models, states to script, a models' folder that is known. */
export type ContractNeed = "JavaScript models" | "scripted server" | "models folder";

/** A peer started for one case. */
export interface ContractPeer {
  readonly client: PredictionClient;
  close(): Promise<void>;
}

/** A peer that takes calls and never answers. */
export interface SilentPeer extends ContractPeer {
  /** Settles once it has got a call. */
  readonly called: Promise<void>;
}

/** A server of the model `half_plus_two` whose states and configuration a case may change. */
export interface ScriptedPeer extends ContractPeer {
  readonly setVersionState: SetVersionState;
}

/** What cases work with. */
export interface ContractContext {
  /** A client of the models of the suite, shared by all cases. */
  readonly client: PredictionClient;
  /** The configuration of the server behind it. */
  readonly config: ModelServerConfig;
  /** Another client of the same server, which the case closes. */
  createClient(options?: ClientOptions): PredictionClient;
  startSilent(): Promise<SilentPeer>;
  /** A client of a port where nobody listens. */
  startDown(): Promise<ContractPeer>;
  startScripted(): Promise<ScriptedPeer>;
}

/** Something that serves the models of the suite. */
export interface ContractTarget {
  readonly transport: ContractTransport;
  /** Why it lacks what cases may need; such cases are skipped. */
  readonly lacks: Partial<Readonly<Record<ContractNeed, string>>>;
  open(): Promise<ContractContext & { close(): Promise<void> }>;
}

/** How a call fails. */
export interface Failure {
  /** Code of a ServingError, name of any other error. */
  readonly fails: string;
  /** Part of its message, the server's message or the hint. */
  readonly text: string;
}

/** A call, and what comes of it over every transport. */
export interface ContractCase {
  readonly method: ContractMethod;
  readonly kind: ContractKind;
  /** What is called with what, without method and kind. */
  readonly title: string;
  readonly run: (context: ContractContext) => Promise<unknown>;
  /** What `run` gives, or a {@link Failure}. */
  readonly expected: unknown;
  /** What comes instead over some transports; `REST` is both of its formats, and the row format may differ once more. */
  readonly over?: Readonly<Partial<Record<"REST" | "REST row", unknown>>>;
  /** Difference allowed in numbers, times the larger of 1 and the number expected. @defaultValue 0 */
  readonly tolerance?: number;
  readonly needs?: ContractNeed;
  /** Makes sense over a connection only. */
  readonly connected?: true;
}

/** A failure with this code (or error name), and text somewhere in message or hint. */
export function fails(code: string, text = ""): Failure {
  return { fails: code, text };
}

/** A case as one line. */
export function titleOf({ method, kind, title }: ContractCase): string {
  return `${method} / ${kind}: ${title}`;
}

/** Whether a case makes sense over a transport. */
export function appliesOver(transport: ContractTransport, test: ContractCase): boolean {
  return transport !== "in-memory" || test.connected !== true;
}

/** Why a target cannot run a case; `undefined` if it can. */
export function reasonToSkip(test: ContractCase, target: ContractTarget): string | undefined {
  return test.needs === undefined ? undefined : target.lacks[test.needs];
}

/**
 * Run one case.
 *
 * @throws AssertionError if the outcome is not the expected one.
 */
export async function checkCase(test: ContractCase, context: ContractContext, transport: ContractTransport): Promise<void> {
  const expected = expectedOver(transport, test);
  let outcome: unknown;
  try {
    outcome = await test.run(context);
  } catch (error) {
    if (!isFailure(expected)) throw error;
    assertFailure(error, expected);
    return;
  }
  if (isFailure(expected)) assert.fail(`expected ${expected.fails}, got ${inspect(outcome, { depth: 4 })}`);
  const wanted = plain(expected);
  assert.deepEqual(rounded(plain(outcome), wanted, test.tolerance ?? 0), wanted);
}

function expectedOver(transport: ContractTransport, { expected, over = {} }: ContractCase): unknown {
  const keys = { "in-memory": [], gRPC: [], "REST column": ["REST"], "REST row": ["REST row", "REST"] } as const;
  const key = keys[transport].find((candidate) => candidate in over);
  return key === undefined ? expected : over[key];
}

function isFailure(expected: unknown): expected is Failure {
  return typeof expected === "object" && expected !== null && "fails" in expected;
}

function assertFailure(error: unknown, { fails: code, text }: Failure): void {
  if (!(error instanceof Error)) assert.fail(`expected an Error, got ${inspect(error)}`);
  const said = isServingError(error) ? [error.code, `${error.message} ${error.hint ?? ""}`] : [error.name, error.message];
  assert.equal(said[0], code, error.stack);
  assert.ok(said[1]?.includes(text), `expected "${text}" in: ${said[1]}`);
}

/** Tensors, typed arrays and records without prototype as plain objects and arrays. */
function plain(value: unknown): unknown {
  if (isTensor(value)) return { dtype: value.dtype, shape: [...value.shape], values: plain(value.values) };
  if (ArrayBuffer.isView(value)) return Array.from(value as unknown as Iterable<unknown>);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, plain(member)]));
}

/** The value with those numbers replaced by the expected ones that are close enough. */
function rounded(value: unknown, wanted: unknown, tolerance: number): unknown {
  if (typeof value === "number" && typeof wanted === "number") {
    return Math.abs(value - wanted) <= tolerance * Math.max(1, Math.abs(wanted)) && tolerance > 0 ? wanted : value;
  }
  if (typeof value !== "object" || value === null || typeof wanted !== "object" || wanted === null) return value;
  const near = (member: unknown, key: string | number) => rounded(member, (wanted as Record<string | number, unknown>)[key], tolerance);
  if (Array.isArray(value)) return value.map(near);
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, near(member, key)]));
}
