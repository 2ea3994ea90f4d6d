/** What another configuration would change. */
import { isDeepStrictEqual } from "node:util";
import {
  assertModelServerConfig,
  type ModelConfig,
  type ModelServerConfig,
  namedVersions,
  type VersionPolicy,
} from "../model-server-config.js";

/** What every change tells. */
interface Change {
  readonly model: string;
  /** The change in a few words, such as `load version 2 of model "m"`. */
  readonly message: string;
}

/** One thing that a server does when another configuration comes. */
export type ConfigChange = Change &
  (
    | { readonly kind: "load-model"; readonly versionPolicy: VersionPolicy }
    | { readonly kind: "unload-model"; readonly versionPolicy: VersionPolicy }
    /** Of models whose versions both configurations name. */
    | { readonly kind: "load-version" | "unload-version"; readonly version: bigint }
    /** Which versions that loads and unloads depends on those in the base path. */
    | { readonly kind: "change-policy"; readonly from: VersionPolicy; readonly to: VersionPolicy; readonly mayUnload: boolean }
    /** Versions that both paths have stay as they are loaded; others are unloaded and loaded. */
    | { readonly kind: "change-base-path"; readonly from: string; readonly to: string }
    /** Servers refuse it. */
    | { readonly kind: "change-platform"; readonly from: string; readonly to: string }
    | { readonly kind: "change-logging" }
    | { readonly kind: "set-label"; readonly label: string; readonly to: bigint }
    | { readonly kind: "move-label"; readonly label: string; readonly from: bigint; readonly to: bigint }
    | { readonly kind: "remove-label"; readonly label: string; readonly from: bigint }
  );

/**
 * Models, versions and labels that a server would load, unload or move when `to` replaces `from`, in the order of `to`; an empty list where
 * both say the same. Of models listed twice the last counts.
 *
 * @throws TypeError or RangeError if a configuration has another form.
 */
export function diffModelServerConfigs(from: ModelServerConfig, to: ModelServerConfig): ConfigChange[] {
  assertModelServerConfig(from);
  assertModelServerConfig(to);
  const before = byName(from);
  const after = byName(to);
  const changes = [...after.values()].flatMap((model) => {
    const old = before.get(model.name);
    return old === undefined ? addedModel(model) : changedModel(old, model);
  });
  const removed = [...before.values()].filter(({ name }) => !after.has(name));
  return [...changes, ...removed.map(removedModel)];
}

function byName({ models }: ModelServerConfig): Map<string, ModelConfig> {
  return new Map(models.map((model) => [model.name, model]));
}

function addedModel(model: ModelConfig): ConfigChange[] {
  const versionPolicy = policyOf(model);
  const message = `load model "${model.name}", ${formatPolicy(versionPolicy)}`;
  return [{ kind: "load-model", model: model.name, versionPolicy, message }, ...labelChanges({ ...model, versionLabels: {} }, model)];
}

function removedModel(model: ModelConfig): ConfigChange {
  const versionPolicy = policyOf(model);
  const message = `unload model "${model.name}", ${formatPolicy(versionPolicy)}`;
  return { kind: "unload-model", model: model.name, versionPolicy, message };
}

function changedModel(from: ModelConfig, to: ModelConfig): ConfigChange[] {
  return [...settingChanges(from, to), ...versionChanges(from, to), ...labelChanges(from, to)];
}

function settingChanges(from: ModelConfig, to: ModelConfig): ConfigChange[] {
  const model = to.name;
  const changes: ConfigChange[] = [];
  if (from.basePath !== to.basePath) {
    const message = `look for versions of model "${model}" in ${to.basePath} instead of ${from.basePath}`;
    changes.push({ kind: "change-base-path", model, from: from.basePath, to: to.basePath, message });
  }
  if (platformOf(from) !== platformOf(to)) {
    const message = `change the platform of model "${model}" from "${platformOf(from)}" to "${platformOf(to)}"`;
    changes.push({ kind: "change-platform", model, from: platformOf(from), to: platformOf(to), message });
  }
  if (!isDeepStrictEqual(from.loggingConfig, to.loggingConfig)) {
    changes.push({ kind: "change-logging", model, message: `change the logging of model "${model}"` });
  }
  return changes;
}

function platformOf({ modelPlatform, modelType }: ModelConfig): string {
  return modelPlatform || (modelType?.toLowerCase() ?? "");
}

function versionChanges(before: ModelConfig, after: ModelConfig): ConfigChange[] {
  const model = after.name;
  const [from, to] = [policyOf(before), policyOf(after)];
  const [old, wanted] = [namedVersions(from), namedVersions(to)];
  if (old !== undefined && wanted !== undefined) {
    const loads = without(wanted, old);
    const unloads = without(old, wanted);
    return [
      ...loads.map(
        (version) => ({ kind: "load-version", model, version, message: `load version ${version} of model "${model}"` }) as const,
      ),
      ...unloads.map(
        (version) => ({ kind: "unload-version", model, version, message: `unload version ${version} of model "${model}"` }) as const,
      ),
    ];
  }
  if (isDeepStrictEqual(from, to)) return [];
  const message = `serve ${formatPolicy(to)} instead of ${formatPolicy(from)} of model "${model}"`;
  return [{ kind: "change-policy", model, from, to, mayUnload: mayUnload(from, to), message }];
}

function without(versions: readonly bigint[], others: readonly bigint[]): bigint[] {
  const left = new Set(others);
  return versions.filter((version) => !left.has(version));
}

/** A model's policy as the server takes it: none and 0 are the newest version. */
function policyOf({ versionPolicy = { latest: 1 } }: ModelConfig): VersionPolicy {
  return isDeepStrictEqual(versionPolicy, { latest: 0 }) ? { latest: 1 } : versionPolicy;
}

/** The newest n are among all, and among the newest n + 1. */
function mayUnload(from: VersionPolicy, to: VersionPolicy): boolean {
  if (to === "all") return false;
  return !(from !== "all" && "latest" in from && "latest" in to && from.latest <= to.latest);
}

function labelChanges(before: ModelConfig, after: ModelConfig): ConfigChange[] {
  const model = after.name;
  const old = new Map(Object.entries(before.versionLabels ?? {}));
  const changes: ConfigChange[] = [];
  for (const [label, version] of Object.entries(after.versionLabels ?? {})) {
    const [from, to] = [old.get(label), BigInt(version)];
    old.delete(label);
    const what = `label "${label}" of model "${model}"`;
    if (from === undefined) changes.push({ kind: "set-label", model, label, to, message: `set ${what} on version ${to}` });
    else if (BigInt(from) !== to) {
      changes.push({ kind: "move-label", model, label, from: BigInt(from), to, message: `move ${what} from version ${from} to ${to}` });
    }
  }
  for (const [label, version] of old) {
    const from = BigInt(version);
    changes.push({ kind: "remove-label", model, label, from, message: `remove label "${label}" of model "${model}" from version ${from}` });
  }
  return changes;
}

function formatPolicy(policy: VersionPolicy): string {
  if (policy === "all") return "all versions";
  if ("specific" in policy) return `versions ${policy.specific.join(", ") || "none"}`;
  return policy.latest === 1 ? "the newest version" : `the newest ${policy.latest} versions`;
}
