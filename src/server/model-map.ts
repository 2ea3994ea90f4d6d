/** The models a server is given as JavaScript. */
import { isServable, type Servable } from "./servable.js";

/** Models by name; a bare servable is version 1. */
export type ModelMap = Readonly<Record<string, Servable | Readonly<Record<number, Servable>>>>;

/** @throws TypeError or RangeError if a model or version is malformed. */
export function servablesFrom(models: ModelMap): ReadonlyMap<string, ReadonlyMap<bigint, Servable>> {
  if (typeof models !== "object" || models === null) throw new TypeError("models: expected a record { name: servable }");
  const servables = new Map<string, ReadonlyMap<bigint, Servable>>();
  for (const [name, model] of Object.entries(models)) {
    if (name === "") throw new TypeError("models: expected a name that is not empty");
    servables.set(name, versionsOf(name, model));
  }
  return servables;
}

function versionsOf(name: string, model: unknown): ReadonlyMap<bigint, Servable> {
  if (isServable(model)) return new Map([[1n, model]]);
  if (typeof model === "string") {
    throw new TypeError(
      `model "${name}": running SavedModel folders is not available in this version: pass a servable, got ${JSON.stringify(model)}`,
    );
  }
  if (typeof model !== "object" || model === null) throw new TypeError(`model "${name}": expected a servable, got ${typeof model}`);
  const versions = new Map<bigint, Servable>();
  for (const [key, value] of Object.entries(model)) {
    if (!/^(0|[1-9]\d{0,17})$/.test(key))
      throw new RangeError(`model "${name}": expected version numbers as keys, got ${JSON.stringify(key)}`);
    if (typeof value === "string") versionsOf(name, value);
    if (!isServable(value)) throw new TypeError(`model "${name}", version ${key}: expected a servable, got ${typeof value}`);
    versions.set(BigInt(key), value);
  }
  if (versions.size === 0) throw new TypeError(`model "${name}": expected at least one version`);
  return versions;
}
