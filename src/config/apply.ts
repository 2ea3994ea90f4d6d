/** Giving a server another configuration, and waiting until it serves what that says. */
import { sleep } from "../deadline.js";
import { isServingError, ServingError } from "../errors.js";
import { assertReloadable, type ModelServerConfig, namedVersions } from "../model-server-config.js";
import { assertOptionNames } from "../option-checks.js";
import { describe } from "../tensor/values.js";
import type { ModelVersionStatus } from "../transport/transport.js";
import { type ConfigChange, diffModelServerConfigs } from "./diff.js";
import {
  type CallLimits,
  limitsOf,
  type ServedVersion,
  type StatusClient,
  type StatusesByModel,
  statusesOf,
  untilServed,
  type WaitClock,
} from "./until-served.js";

/** What {@link applyModelServerConfig} needs of a client; a `PredictionClient` over gRPC has it. */
export interface ConfigClient extends StatusClient {
  /** Replaces the server's configuration. */
  reloadConfig(config: ModelServerConfig, options?: CallLimits): Promise<void>;
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
  /**
   * The versions that are served: those that policies list; else all that are `AVAILABLE` of a model that is new or has another path or
   * policy, and the newest of one that is as before. Empty for a dry run.
   */
  readonly available: readonly ServedVersion[];
}

/**
 * Replace a server's configuration and wait until every model and version it names is `AVAILABLE`.
 *
 * Which versions another path or policy means only the server's folders say, unless the policy lists them. Then this waits until the server
 * has loaded and unloaded nothing for 2 seconds: it looks at its folders every second, unless it was told to look less often.
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
export function applyModelServerConfig(client: ConfigClient, options: ApplyOptions): Promise<AppliedConfig> {
  return applyByClock(client, options, { now: () => performance.now(), sleep });
}

/** {@link applyModelServerConfig} by a clock of one's own. */
export async function applyByClock(client: ConfigClient, options: ApplyOptions, clock: WaitClock): Promise<AppliedConfig> {
  assertOptionNames(options, { known: { from: true, to: true, allowUnload: true, dryRun: true, timeoutMs: true, signal: true } });
  const { from, to, allowUnload = applyDefaults.allowUnload, dryRun = applyDefaults.dryRun, signal } = options;
  const { timeoutMs = applyDefaults.timeoutMs } = options;
  if (typeof timeoutMs !== "number" || !(timeoutMs > 0))
    throw new RangeError(`timeoutMs: expected a positive number of milliseconds, got ${describe(timeoutMs)}`);
  const changes = diffModelServerConfigs(from, to);
  assertReloadable(to);
  if (dryRun) return { changes, applied: false, available: [] };

  const waiting = { client, clock, deadline: clock.now() + timeoutMs, signal };
  const before = await statusesOf(new Set(changes.map(({ model }) => model)), waiting);
  if (!allowUnload) refuseUnloads(changes, before);
  await client.reloadConfig(to, limitsOf(waiting));
  try {
    return { changes, applied: true, available: await untilServed(to, changes, before, waiting) };
  } catch (error) {
    throw errorAfterReload(error);
  }
}

function refuseUnloads(changes: readonly ConfigChange[], statuses: StatusesByModel): void {
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

function wouldUnload(change: ConfigChange, statuses: readonly ModelVersionStatus[]): boolean {
  if (change.kind !== "change-policy") return ["unload-model", "unload-version", "change-base-path"].includes(change.kind);
  const named = namedVersions(change.to);
  if (named === undefined) return change.mayUnload;
  const kept = new Set(named);
  return statuses.some(({ version, state }) => state !== "END" && !kept.has(version));
}

/** The error of a wait, which may be the caller's own reason for ending it. */
function errorAfterReload(cause: unknown): unknown {
  if (!isServingError(cause)) return cause;
  const { code, hint, message } = cause;
  const words = message.startsWith(`${code}: `) ? message.slice(code.length + 2) : message;
  return new ServingError(`${code}: applyModelServerConfig: the server has the new configuration, but ${words}`, { code, hint, cause });
}
