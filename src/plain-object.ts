/** What counts as a record that a caller wrote, and what to call all else. */
import { describe } from "./tensor/values.js";

/**
 * Whether a value is an object literal or an object without a prototype.
 *
 * A class instance is none: a Date or a Promise has no properties of its own and would pass for an empty record. Nor is what the literal
 * `{ "__proto__": {...} }` makes: it sets the prototype, and the name would be lost.
 */
export function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: object | null = Object.getPrototypeOf(value);
  // Not compared with Object.prototype, which is another one in another realm (Jest).
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** A short text for what came where a plain object is expected; an object is called by its class. */
export function describeNotPlain(value: unknown): string {
  const text = describe(value);
  if (text !== "an object") return text;
  const name: unknown = (value as object).constructor?.name;
  if (typeof name !== "string" || name === "") return "a class instance";
  if (name === "Object") return 'an object with a prototype; a key "__proto__" has to be written ["__proto__"]';
  return `${/^[AEIO]/.test(name) ? "an" : "a"} ${name}`;
}
