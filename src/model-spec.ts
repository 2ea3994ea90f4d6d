/** Which model, which of its versions and which signature a call is about. */
import { describe } from "./tensor/values.js";

/** A model by name, optionally at one version or label; version and label exclude each other. */
export type ModelSpec = {
  /** Name under which the server serves the model. */
  readonly name: string;
  /** Key in the model's signature map. @defaultValue `"serving_default"` */
  readonly signatureName?: string | undefined;
} & (
  | { readonly version?: number | bigint | undefined; readonly versionLabel?: undefined }
  | { readonly version?: undefined; readonly versionLabel?: string | undefined }
);

/** What callers may pass where a model is wanted. */
export type ModelLike = string | ModelSpec;

/** The signature that TensorFlow Serving uses when a request names none. */
export const defaultSignatureName = "serving_default";

/** The signature that a spec names; an empty name stands for the default, as on the server. */
export function signatureNameOf({ signatureName }: Pick<ModelSpec, "signatureName">): string {
  return signatureName || defaultSignatureName;
}

const maxVersion = 2n ** 63n - 1n;

/**
 * A checked {@link ModelSpec}.
 *
 * @throws TypeError if the name or label is empty, or version and versionLabel are both given, or a field has the wrong type.
 * @throws RangeError if the version is not a whole number from 0 to 2^63 - 1.
 */
export function modelSpecFrom(model: ModelLike): ModelSpec {
  const spec = typeof model === "string" ? { name: model } : model;
  if (typeof spec !== "object" || spec === null || typeof spec.name !== "string" || spec.name === "") {
    throw new TypeError(`model: expected a name or { name, version?, versionLabel?, signatureName? }, got ${describe(model)}`);
  }
  // The type excludes this, callers in JavaScript do not.
  const { name, version, versionLabel }: { name: string; version?: unknown; versionLabel?: unknown } = spec;
  if (version !== undefined && versionLabel !== undefined)
    throw new TypeError(`model "${name}": version and versionLabel exclude each other`);
  if (spec.version !== undefined) checkVersion(spec.name, spec.version);
  for (const field of ["versionLabel", "signatureName"] as const) {
    if (spec[field] !== undefined && typeof spec[field] !== "string") {
      throw new TypeError(`model "${spec.name}": expected ${field} to be a string, got ${describe(spec[field])}`);
    }
  }
  if (versionLabel === "") throw new TypeError(`model "${name}": expected versionLabel to be a non-empty string, got ""`);
  return spec;
}

function checkVersion(name: string, version: unknown): void {
  if (typeof version !== "number" && typeof version !== "bigint") {
    throw new TypeError(`model "${name}": expected version to be a number or bigint, got ${describe(version)}`);
  }
  const exact = typeof version === "bigint" || Number.isSafeInteger(version);
  if (!exact || version < 0 || version > maxVersion) {
    throw new RangeError(`model "${name}": expected version to be a whole number from 0 to 2^63 - 1, got ${version}`);
  }
}
