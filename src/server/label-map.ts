/** Labels of versions, with the rules of TensorFlow Serving 2.20.0 for setting and moving them (`server_core.cc`). */
import type { ModelConfig } from "../model-server-config.js";
import { refusal } from "./refusal.js";

/** Versions by label, by model name. */
type Labels = ReadonlyMap<string, ReadonlyMap<string, bigint>>;

/** What setting labels depends on. */
export interface LabelRules {
  readonly isAvailable: (name: string, version: bigint) => boolean;
  /** Whether a label may be set on a version that is not available, unless it stands on another one now. */
  readonly allowUnavailable: boolean;
}

/** The labels of all models of a server. */
export class LabelMap {
  /** Absent until the server has had a configuration. */
  #labels: Labels | undefined;

  /** @throws ServingError INVALID_ARGUMENT if there is no such label; UNAVAILABLE before any labels were set. */
  version(name: string, label: string): bigint {
    if (this.#labels === undefined) throw refusal("UNAVAILABLE", `Model labels does not init yet.${label}`);
    const version = this.#labels.get(name)?.get(label);
    if (version === undefined) throw refusal("INVALID_ARGUMENT", `Unrecognized servable version label: ${label}`);
    return version;
  }

  /** Replace all labels by labels that have been checked. */
  replace(labels: Labels): void {
    this.#labels = labels;
  }

  /**
   * The labels of a configuration, for {@link replace}.
   *
   * @throws ServingError FAILED_PRECONDITION if a label stands on a version that is not available and the rules do not allow that.
   */
  checked(models: readonly ModelConfig[], rules: LabelRules): Labels {
    return new Map(
      models.map(({ name, versionLabels = {} }) => {
        const labels = Object.entries(versionLabels).map(([label, version]) => [label, BigInt(version)] as const);
        for (const [label, version] of labels) this.#check(name, label, version, rules);
        return [name, new Map(labels)];
      }),
    );
  }

  #check(name: string, label: string, version: bigint, { isAvailable, allowUnavailable }: LabelRules): void {
    if (isAvailable(name, version)) return;
    const current = this.#labels?.get(name)?.get(label);
    if (allowUnavailable && (current === undefined || current === version)) return;
    const text = `Request to assign label to version ${version} of model ${name}, which is not currently available for inference`;
    throw refusal("FAILED_PRECONDITION", text);
  }
}
