/** What callers give as examples and features -> {@link Example}: the conversions and checks of every kind. */
import { TensorError } from "./errors.js";
import { decodeExample, type Example, type Feature, type FeatureLists } from "./example-codec.js";
import { describeNotPlain, isPlainObject } from "./plain-object.js";
import { describe, isBytes } from "./tensor/values.js";

/** One value of a feature, or a whole feature: number -> float, bigint -> int64, string (as UTF-8) and `Uint8Array` -> bytes. */
export type FeatureValue = number | bigint | string | Uint8Array | Feature;

/** The features of an example by name: a value or a list of values of one kind; an empty list is a feature without a kind. */
export type FeatureRecord = Readonly<Record<string, FeatureValue | readonly FeatureValue[]>>;

/** The features of a sequence by name, each a list with one entry for every step. */
export type FeatureListRecord = Readonly<Record<string, readonly (FeatureValue | readonly FeatureValue[])[]>>;

/** An example: its features by name, or a serialized `tf.Example`. */
export type ExampleLike = FeatureRecord | Uint8Array;

const kindHint = "float(...), int64(...) and bytes(...) say which kind is meant";

/**
 * The checked features of an example; byte values are not copied.
 *
 * @param what - What errors call the example, such as `examples[0]`.
 * @throws TensorError naming the feature, what was expected and what came; FormatError for bytes that are no `tf.Example`; TypeError for
 * what is neither a record nor bytes.
 */
export function exampleFrom(like: ExampleLike, what: string): Example {
  return isBytes(like) ? decodeExample(like, what) : featuresFrom(like, what, "a plain object of features or serialized bytes");
}

/** {@link exampleFrom} for a record; `expected` is what errors say is taken. */
export function featuresFrom(features: FeatureRecord, what: string, expected = "a plain object of features"): Example {
  const example: Record<string, Feature> = Object.create(null);
  for (const [name, value] of namedEntries(features, what, expected)) {
    example[name] = featureFrom(value, `${what}: feature ${JSON.stringify(name)}`);
  }
  return example;
}

/** The checked features of the steps of a sequence. */
export function featureListsFrom(lists: FeatureListRecord, what: string): FeatureLists {
  const checked: Record<string, Feature[]> = Object.create(null);
  for (const [name, steps] of namedEntries(lists, what, "a plain object of feature lists")) {
    const subject = `${what}: feature list ${JSON.stringify(name)}`;
    if (!Array.isArray(steps)) throw new TensorError(`${subject}: expected a list of steps, got ${describe(steps)}`);
    checked[name] = steps.map((step, index) => featureFrom(step, `${subject}[${index}]`));
  }
  return checked;
}

function namedEntries(record: unknown, what: string, expected: string): [string, unknown][] {
  if (!isPlainObject(record)) throw new TypeError(`${what}: expected ${expected}, got ${describeNotPlain(record)}`);
  const entries = Object.entries(record);
  const bad = entries.find(([name]) => hasLoneSurrogate(name));
  if (bad !== undefined) throw new TensorError(`${what}: expected names without lone surrogates, got ${describe(bad[0])}`);
  return entries;
}

/** A feature from one value or a list; its kind is that of the first value, and all others must have it too. */
function featureFrom(value: unknown, what: string): Feature {
  const items: readonly unknown[] = Array.isArray(value) ? value : [value];
  const kind = items.length === 0 ? "none" : kindOf(items[0], what);
  for (const [index, item] of items.entries()) {
    const other = kindOf(item, what, index);
    if (other !== kind) {
      throw new TensorError(`${what}: expected ${kind} values as the first one is, got ${describe(item)} (${other}) at [${index}]`, {
        hint: kindHint,
      });
    }
  }
  const values = items.some(isFeature) ? items.flatMap((item): readonly unknown[] => (isFeature(item) ? item.values : [item])) : items;
  return featureOf(kind, values, what);
}

function kindOf(value: unknown, what: string, index = 0): Feature["kind"] {
  if (typeof value === "number") return "float";
  if (typeof value === "bigint") return "int64";
  if (typeof value === "string" || isBytes(value)) return "bytes";
  if (isFeature(value)) return value.kind;
  const place = index === 0 ? "" : ` at [${index}]`;
  throw new TensorError(`${what}: expected a number, bigint, string, Uint8Array or feature, got ${describe(value)}${place}`, {
    hint: kindHint,
  });
}

const kinds: ReadonlySet<unknown> = new Set<Feature["kind"]>(["float", "int64", "bytes", "none"]);

function isFeature(value: unknown): value is Feature {
  if (typeof value !== "object" || value === null || !("kind" in value) || !("values" in value)) return false;
  return kinds.has(value.kind) && Array.isArray(value.values) && (value.kind !== "none" || value.values.length === 0);
}

/**
 * A feature of a given kind; floats are rounded to float32, byte values are not copied.
 *
 * @param what - What stands in front of error messages.
 * @throws TensorError for the first value that does not fit.
 */
export function featureOf(kind: Feature["kind"], values: ArrayLike<unknown>, what: string): Feature {
  switch (kind) {
    case "float":
      return { kind, values: converted(values, floatFrom, "a number in the range of float32", what) };
    case "int64":
      return { kind, values: converted(values, int64From, "a bigint or a safe whole number from -2^63 to 2^63 - 1", what) };
    case "bytes":
      return { kind, values: converted(values, bytesFrom, "a string without lone surrogates or a Uint8Array", what) };
    case "none":
      return { kind, values: [] };
  }
}

function converted<T>(values: ArrayLike<unknown>, convert: (value: unknown) => T | undefined, expected: string, what: string): T[] {
  const out: T[] = [];
  for (let i = 0; i < values.length; i++) {
    const value = convert(values[i]);
    if (value === undefined) {
      throw new TensorError(`${what}: expected ${expected}, got ${describe(values[i])}${values.length === 1 ? "" : ` at [${i}]`}`);
    }
    out.push(value);
  }
  return out;
}

/** Rounded here, so that every transport carries the same value. */
function floatFrom(value: unknown): number | undefined {
  if (typeof value !== "number") return undefined;
  const rounded = Math.fround(value);
  return Number.isFinite(value) && !Number.isFinite(rounded) ? undefined : rounded;
}

function int64From(value: unknown): bigint | undefined {
  if (typeof value === "bigint") return BigInt.asIntN(64, value) === value ? value : undefined;
  return Number.isSafeInteger(value) ? BigInt(value as number) : undefined;
}

const utf8 = new TextEncoder();

function bytesFrom(value: unknown): Uint8Array | undefined {
  if (typeof value === "string") return hasLoneSurrogate(value) ? undefined : utf8.encode(value);
  return isBytes(value) ? value : undefined;
}

/** UTF-8 has no bytes for half of a surrogate pair; with the u flag a surrogate matches only there. */
function hasLoneSurrogate(text: string): boolean {
  return /\p{Surrogate}/u.test(text);
}
