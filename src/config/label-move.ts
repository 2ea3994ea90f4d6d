/** Moving a label to another version, which takes two reloads: labels are set before versions are loaded. */
import { assertModelServerConfig, type ModelConfig, type ModelServerConfig, maxVersion, namedVersions } from "../model-server-config.js";
import { describe } from "../tensor/values.js";

/** Two configurations, to be applied one after the other, the second when the version is `AVAILABLE`. */
export interface LabelMovePlan {
  /** Serves the version beside those served now; the same as now where it is served already. */
  readonly load: ModelServerConfig;
  /** Sets the label on it. The version it was on stays loaded. */
  readonly move: ModelServerConfig;
}

/**
 * The two safe steps in which a label comes to another version, or to its first: load, then move.
 *
 * @param config - What the server has now.
 * @throws RangeError if the model is not in it, or its policy does not say which versions are served: with `{ latest: n }` the server does,
 * so ask `client.getModelStatus`, list those that are `AVAILABLE` as `specific`, and apply that first.
 * @throws TypeError or RangeError if config, label or version have another form.
 */
export function planLabelMove(config: ModelServerConfig, model: string, label: string, version: number | bigint): LabelMovePlan {
  assertModelServerConfig(config);
  if (typeof label !== "string") throw new TypeError(`planLabelMove: expected a label, got ${describe(label)}`);
  const isWhole = typeof version === "bigint" || Number.isSafeInteger(version);
  if (!isWhole || version < 0 || version > maxVersion) {
    throw new RangeError(`planLabelMove: expected version to be a whole number from 0 to 2^63 - 1, got ${describe(version)}`);
  }
  const current = config.models.find(({ name }) => name === model);
  if (current === undefined) {
    const names = config.models.map(({ name }) => `"${name}"`).join(", ") || "none";
    throw new RangeError(`planLabelMove: expected the name of a model in the configuration (${names}), got ${describe(model)}`);
  }
  const serving = withVersion(current, BigInt(version));
  const labelled = { ...serving, versionLabels: { ...serving.versionLabels, [label]: BigInt(version) } };
  const replaced = (by: ModelConfig) => ({ models: config.models.map((old) => (old === current ? by : old)) });
  return { load: replaced(serving), move: replaced(labelled) };
}

function withVersion(model: ModelConfig, version: bigint): ModelConfig {
  const { versionPolicy: policy } = model;
  if (policy === "all") return model;
  const versions = namedVersions(policy);
  if (versions === undefined) {
    const got = policy === undefined ? "none" : "{ latest: n }";
    const remedy = "ask getModelStatus which versions are AVAILABLE, and list them as specific, so that none is unloaded by mistake";
    throw new RangeError(
      `planLabelMove: model "${model.name}": expected versionPolicy { specific: [...] } or "all", got ${got}: ${remedy}`,
    );
  }
  return versions.includes(version) ? model : { ...model, versionPolicy: { specific: [...versions, version] } };
}
