/** Waiting until a server that has another configuration serves what that says. */
import { minRemainingMs } from "../deadline.js";
import { isServingError, ServingError } from "../errors.js";
import { type ModelConfig, type ModelServerConfig, namedVersions } from "../model-server-config.js";
import type { ModelVersionStatus } from "../transport/transport.js";
import type { ConfigChange } from "./diff.js";

/** How long a call may take. */
export interface CallLimits {
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What waiting needs of a client. */
export interface StatusClient {
  /** The state of every version that the server knows of a model. */
  getModelStatus(model: string, options?: CallLimits): Promise<ModelVersionStatus[]>;
  /** Settles when a version, or the newest, is `AVAILABLE`, and rejects when it has failed. */
  waitForModel(model: { readonly name: string; readonly version?: bigint }, options?: CallLimits): Promise<ModelVersionStatus>;
}

/** Time that passes; tests bring their own. */
export interface WaitClock {
  now(): number;
  /** Rejects when the caller aborts. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

/** Whom to ask, and how long. */
export interface Waiting {
  readonly client: StatusClient;
  readonly clock: WaitClock;
  /** By the clock. */
  readonly deadline: number;
  readonly signal: AbortSignal | undefined;
}

/** A version that is served. */
export interface ServedVersion {
  readonly model: string;
  readonly version: bigint;
}

/** What the server says of models, by name. */
export type StatusesByModel = ReadonlyMap<string, readonly ModelVersionStatus[]>;

/**
 * A server looks at its folders every second unless told otherwise. Until then a changed model is as it was: what is `AVAILABLE` may be what
 * the configuration before asked for, and a version that is wanted again still shows its old failure.
 */
const quietMs = 2_000;
const oldFailuresMs = 5_000;
const lookIntervalMs = 100;

/** Versions that stand in a message. */
const maxListed = 5;

/** What the time left allows a call. */
export function limitsOf({ clock, deadline, signal }: Waiting): CallLimits {
  return { timeoutMs: Math.max(minRemainingMs, deadline - clock.now()), signal };
}

/** What the server says of models; empty for those that it does not have yet. */
export async function statusesOf(names: Iterable<string>, waiting: Waiting): Promise<StatusesByModel> {
  const statuses = new Map<string, readonly ModelVersionStatus[]>();
  for (const name of names) statuses.set(name, await statusesOfModel(name, waiting));
  return statuses;
}

async function statusesOfModel(name: string, waiting: Waiting): Promise<readonly ModelVersionStatus[]> {
  try {
    return await waiting.client.getModelStatus(name, limitsOf(waiting));
  } catch (error) {
    if (!isServingError(error) || error.code !== "NOT_FOUND") throw error;
    return [];
  }
}

/**
 * The versions that a server serves once it has applied a configuration: those that policies list; else all that are `AVAILABLE` of a model
 * that changes, and the newest of one that does not.
 *
 * @param before - What the server said of models that change.
 * @throws ServingError with the code of the failure if a version failed, `DEADLINE_EXCEEDED` if time ran out.
 */
export async function untilServed(
  { models }: ModelServerConfig,
  changes: readonly ConfigChange[],
  before: StatusesByModel,
  waiting: Waiting,
): Promise<ServedVersion[]> {
  const settled = await untilQuiet(modelsToSettle(models, changes), before, waiting);
  const served: ServedVersion[] = [];
  for (const model of models) {
    const versions = settled.get(model.name)?.filter(({ state }) => state === "AVAILABLE") ?? [];
    const awaited = versions.length > 0 ? versions : await untilAvailable(model, before.get(model.name) ?? [], waiting);
    served.push(...awaited.map(({ version }) => ({ model: model.name, version })));
  }
  return served;
}

/** Models that get other versions, which ones only their folders say. */
function modelsToSettle(models: readonly ModelConfig[], changes: readonly ConfigChange[]): string[] {
  const kinds: readonly ConfigChange["kind"][] = ["load-model", "change-policy", "change-base-path"];
  const changed = new Set(changes.filter(({ kind }) => kinds.includes(kind)).map(({ model }) => model));
  return models
    .filter(({ name, versionPolicy }) => changed.has(name) && namedVersions(versionPolicy) === undefined)
    .map(({ name }) => name);
}

/** Wait until the server has had time to look at its folders, and loads and unloads nothing any more. */
async function untilQuiet(names: readonly string[], before: StatusesByModel, waiting: Waiting): Promise<StatusesByModel> {
  const { clock, deadline, signal } = waiting;
  let failed = versionsIn(before, hasFailed);
  let movedAt = clock.now();
  let statuses: StatusesByModel = new Map();
  while (names.length > 0 && clock.now() - movedAt <= quietMs) {
    statuses = await statusesOf(names, waiting);
    const failures = versionsIn(statuses, hasFailed);
    for (const [id, status] of failures) if (!failed.has(id)) throw failureOf(id, status);
    // Without those that are tried again, and may fail again.
    failed = failures;
    const moving = versionsIn(statuses, isMoving);
    if (moving.size > 0) movedAt = clock.now();
    if (deadline - clock.now() < lookIntervalMs) throw timedOut(moving);
    await clock.sleep(lookIntervalMs, signal);
  }
  return statuses;
}

/** Each version that the policy lists, or the newest, once it is `AVAILABLE`. */
async function untilAvailable(
  model: ModelConfig,
  before: readonly ModelVersionStatus[],
  waiting: Waiting,
): Promise<readonly ModelVersionStatus[]> {
  await untilTriedAgain(model, before, waiting);
  const { name, versionPolicy } = model;
  const specs = namedVersions(versionPolicy)?.map((version) => ({ name, version })) ?? [{ name }];
  const statuses: ModelVersionStatus[] = [];
  for (const spec of specs) statuses.push(await waiting.client.waitForModel(spec, limitsOf(waiting)));
  return statuses;
}

/** Wait until failures of before the reload are gone, or stay. */
async function untilTriedAgain(
  { name, versionPolicy }: ModelConfig,
  before: readonly ModelVersionStatus[],
  waiting: Waiting,
): Promise<void> {
  const { clock, signal } = waiting;
  const named = namedVersions(versionPolicy);
  const wanted = new Set(named ?? before.map(({ version }) => version));
  const failed = new Set(before.filter((status) => hasFailed(status) && wanted.has(status.version)).map(({ version }) => version));
  const until = clock.now() + oldFailuresMs;
  while (failed.size > 0 && clock.now() < until) {
    const statuses = await statusesOfModel(name, waiting);
    if (!statuses.some((status) => hasFailed(status) && failed.has(status.version))) return;
    await clock.sleep(lookIntervalMs, signal);
  }
}

/** Versions for which something is true, as in `digits:3`. */
function versionsIn(statuses: StatusesByModel, test: (status: ModelVersionStatus) => boolean): Map<string, ModelVersionStatus> {
  const all = [...statuses].flatMap(([model, versions]) => versions.map((status) => [`${model}:${status.version}`, status] as const));
  return new Map(all.filter(([, status]) => test(status)));
}

function hasFailed({ state, errorCode }: ModelVersionStatus): boolean {
  return state === "END" && errorCode !== "OK";
}

function isMoving({ state }: ModelVersionStatus): boolean {
  return state === "START" || state === "LOADING" || state === "UNLOADING";
}

function failureOf(id: string, { errorCode: code, errorMessage }: ModelVersionStatus): ServingError {
  return new ServingError(`${code}: ${id} failed to load: ${errorMessage || code}`, { code });
}

function timedOut(moving: ReadonlyMap<string, ModelVersionStatus>): ServingError {
  const listed = [...moving].slice(0, maxListed).map(([id, { state }]) => `${id} ${state}`);
  const seen = [...listed, ...(moving.size > maxListed ? ["..."] : [])].join(", ") || "none now";
  const why = `time ran out before ${quietMs} ms had passed without loading or unloading; on its way: ${seen}`;
  return new ServingError(`DEADLINE_EXCEEDED: ${why}`, {
    code: "DEADLINE_EXCEEDED",
    hint: "give it more time, or look at the server's log",
  });
}
