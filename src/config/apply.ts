/** Giving a server another configuration, and waiting until it serves what that says. */
import { minRemainingMs, sleep } from "../deadline.js";
import { isServingError, ServingError } from "../errors.js";
import { assertReloadable, type ModelConfig, type ModelServerConfig, namedVersions } from "../model-server-config.js";
import { assertOptionNames } from "../option-names.js";
import { describe } from "../tensor/values.js";
import type { ModelVersionStatus } from "../transport/transport.js";
import { type ConfigChange, diffModelServerConfigs } from "./diff.js";

/** How long a call may take. */
interface CallLimits {
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What {@link applyModelServerConfig} needs of a client; a `PredictionClient` over gRPC has it. */
export interface ConfigClient {
  /** Replaces the server's configuration. */
  reloadConfig(config: ModelServerConfig, options?: CallLimits): Promise<void>;
  /** The state of every version that the server knows of a model. */
  getModelStatus(model: string, options?: CallLimits): Promise<ModelVersionStatus[]>;
  /** Settles when a version, or the newest, is `AVAILABLE`, and rejects when it has failed. */
  waitForModel(model: { readonly name: string; readonly version?: bigint }, options?: CallLimits): Promise<ModelVersionStatus>;
}

/** Options of {@link applyModelServerConfig}. */
export interface ApplyOptions {
  /** What the server has now; it has no way to tell. */
  readonly from: ModelServerConfig;
  /** What the server is to have. */
  readonly to: ModelServerConfig;
  /** Whether models and versions may be unloaded. @defaultValue false */
  readonly allowUnload?: boolean | undefined;
  /** Only tell what would change; no call is made. @defaultValue false */
  readonly dryRun?: boolean | undefined;
  /** Time for all of it. @defaultValue 300_000 */
  readonly timeoutMs?: number | undefined;
  /** Aborts the waiting, not what the server has begun; rejects with the signal's `reason`. */
  readonly signal?: AbortSignal | undefined;
}

/** Defaults of {@link ApplyOptions}. */
export const applyDefaults = Object.freeze({ allowUnload: false, dryRun: false, timeoutMs: 300_000 } as const);

/** What {@link applyModelServerConfig} has done. */
export interface AppliedConfig {
  /** What is different in the new configuration. */
  readonly changes: readonly ConfigChange[];
  /** Whether the server has it: false for a dry run. */
  readonly applied: boolean;
  /** The versions that were waited for: those that policies name, else the newest of the model. Empty for a dry run. */
  readonly available: readonly { readonly model: string; readonly version: bigint }[];
}

/** A server looks at its folders every second unless told otherwise; until then a version that is wanted again still shows its old failure. */
const oldFailuresMs = 5_000;
const lookIntervalMs = 100;

/**
 * Replace a server's configuration and wait until every model and version it names is `AVAILABLE`.
 *
 * Unless `allowUnload` is set, nothing is sent if a version that is served now would, or might, be unloaded: a policy `{ latest: n }` may,
 * for what it picks depends on the folders; of a list of versions it is known from the server's status. Labels are set before versions are
 * loaded: see {@link planLabelMove}.
 *
 * @param client - Over gRPC, to one server; replicas have to be reloaded one by one.
 * @throws ServingError `FAILED_PRECONDITION` if something would be unloaded; nothing was sent.
 * @throws What `client.reloadConfig` rejects with.
 * @throws ServingError with code and hint of the failure, if the server has the configuration but a version failed or time ran out.
 * @throws TypeError or RangeError if options or a configuration have another form, or `to` would make the server refuse all later ones.
 */
export async function applyModelServerConfig(client: ConfigClient, options: ApplyOptions): Promise<AppliedConfig> {
  assertOptionNames(options, { known: { from: true, to: true, allowUnload: true, dryRun: true, timeoutMs: true, signal: true } });
  const { from, to, allowUnload = applyDefaults.allowUnload, dryRun = applyDefaults.dryRun, signal } = options;
  const { timeoutMs = applyDefaults.timeoutMs } = options;
  if (typeof timeoutMs !== "number" || !(timeoutMs > 0))
    throw new RangeError(`timeoutMs: expected a positive number of milliseconds, got ${describe(timeoutMs)}`);
  const changes = diffModelServerConfigs(from, to);
  assertReloadable(to);
  if (dryRun) return { changes, applied: false, available: [] };

  const deadline = performance.now() + timeoutMs;
  const limits = () => ({ timeoutMs: Math.max(minRemainingMs, deadline - performance.now()), signal });
  const before = await statusesOf(client, changes, limits);
  if (!allowUnload) refuseUnloads(changes, before);
  await client.reloadConfig(to, limits());
  try {
    const available: { model: string; version: bigint }[] = [];
    for (const model of to.models) {
      await untilTriedAgain(client, model, before.get(model.name) ?? [], limits);
      for (const spec of wantedOf(model)) {
        const { version } = await client.waitForModel(spec, limits());
        available.push({ model: model.name, version });
      }
    }
    return { changes, applied: true, available };
  } catch (error) {
    throw errorAfterReload(error);
  }
}

type Statuses = readonly ModelVersionStatus[];

/** What the server says of the models that change, by name. */
async function statusesOf(
  client: ConfigClient,
  changes: readonly ConfigChange[],
  limits: () => CallLimits,
): Promise<Map<string, Statuses>> {
  const statuses = new Map<string, Statuses>();
  for (const name of new Set(changes.map(({ model }) => model))) {
    try {
      statuses.set(name, await client.getModelStatus(name, limits()));
    } catch (error) {
      // A model that the server does not have yet.
      if (!isServingError(error) || error.code !== "NOT_FOUND") throw error;
    }
  }
  return statuses;
}

function refuseUnloads(changes: readonly ConfigChange[], statuses: ReadonlyMap<string, Statuses>): void {
  const unloads = changes.filter((change) => wouldUnload(change, statuses.get(change.model) ?? []));
  if (unloads.length === 0) return;
  const listed = unloads.map(({ message }) => message).join("; ");
  throw new ServingError(
    `FAILED_PRECONDITION: applyModelServerConfig: this unloads, or may unload, what is served: ${listed}; nothing was sent`,
    {
      code: "FAILED_PRECONDITION",
      hint: "set allowUnload where that is meant; else list in `to` every model and version that is to stay",
    },
  );
}

function wouldUnload(change: ConfigChange, statuses: Statuses): boolean {
  if (change.kind !== "change-policy") return ["unload-model", "unload-version", "change-base-path"].includes(change.kind);
  const named = namedVersions(change.to);
  if (named === undefined) return change.mayUnload;
  return statuses.some(({ version, state }) => state !== "END" && !named.includes(version));
}

/** What to wait for: each version that the policy names, or the newest. */
function wantedOf({ name, versionPolicy }: ModelConfig): { name: string; version?: bigint }[] {
  return namedVersions(versionPolicy)?.map((version) => ({ name, version })) ?? [{ name }];
}

/** Wait until failures of before the reload are gone, or stay. */
async function untilTriedAgain(client: ConfigClient, model: ModelConfig, before: Statuses, limits: () => CallLimits): Promise<void> {
  const named = namedVersions(model.versionPolicy);
  const failed = before.filter((status) => hasFailed(status) && named?.includes(status.version) !== false).map(({ version }) => version);
  const until = performance.now() + oldFailuresMs;
  while (failed.length > 0 && performance.now() < until) {
    const statuses = await client.getModelStatus(model.name, limits());
    if (!statuses.some((status) => hasFailed(status) && failed.includes(status.version))) return;
    await sleep(lookIntervalMs, limits().signal);
  }
}

function hasFailed({ state, errorCode }: ModelVersionStatus): boolean {
  return state === "END" && errorCode !== "OK";
}

/** The error of a wait, which may be the caller's own reason for ending it. */
function errorAfterReload(cause: unknown): unknown {
  if (!isServingError(cause)) return cause;
  const { code, hint, message } = cause;
  const words = message.startsWith(`${code}: `) ? message.slice(code.length + 2) : message;
  return new ServingError(`${code}: applyModelServerConfig: the server has the new configuration, but ${words}`, { code, hint, cause });
}
