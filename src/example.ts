/**
 * `tfserving/example`: builds what `classify`, `regress` and `multiInference` take, and what TFRecord files of examples hold.
 *
 * Equal features give equal bytes: map entries are sorted by the UTF-8 bytes of their names, as Python's
 * `SerializeToString(deterministic=True)` does. What is empty is left out, as in Python where it was never set: `example({})` is no bytes.
 */
import { encodeExample, encodeSequenceExample, type Feature } from "./example-codec.js";
import { type FeatureListRecord, type FeatureRecord, featureListsFrom, featureOf, featuresFrom } from "./example-values.js";
import { isBytes, typedArrayName } from "./tensor/values.js";

export type { Example, Feature } from "./example-codec.js";
export type { ExampleLike, FeatureListRecord, FeatureRecord, FeatureValue } from "./example-values.js";

/**
 * A serialized `tf.Example`.
 *
 * A number is a float, a bigint an int64, a string or `Uint8Array` bytes; a list holds values of one kind. An empty list is a feature
 * without a kind, `float([])` one with an empty list of floats.
 *
 * @throws TensorError naming the feature whose value does not fit.
 */
export function example(features: FeatureRecord): Uint8Array {
  return encodeExample(featuresFrom(features, "example"));
}

/**
 * A serialized `tf.SequenceExample`.
 *
 * @param context - Features of the whole sequence.
 * @param featureLists - Features of each step, as a list for every name; a step is what a feature of {@link example} can be.
 * @throws TensorError naming the feature and step whose value does not fit.
 */
export function sequenceExample(context: FeatureRecord, featureLists: FeatureListRecord): Uint8Array {
  return encodeSequenceExample(
    featuresFrom(context, "sequenceExample context"),
    featureListsFrom(featureLists, "sequenceExample featureLists"),
  );
}

/**
 * A feature of floats, from one number or a list; rounded to float32.
 *
 * @throws TensorError for what is no number, or a finite one beyond float32.
 */
export function float(values: number | ArrayLike<number>): Feature {
  return featureOf("float", listOf(values), "float");
}

/**
 * A feature of 64-bit integers, from one whole number or a list.
 *
 * @throws TensorError for fractions, numbers beyond 2^53 - 1 that are no bigint, and bigints beyond 64 bits.
 */
export function int64(values: number | bigint | ArrayLike<number | bigint>): Feature {
  return featureOf("int64", listOf(values), "int64");
}

/**
 * A feature of byte strings, from one or a list; a `Uint8Array` is one value and is not copied, a string becomes UTF-8.
 *
 * @throws TensorError for what is neither.
 */
export function bytes(values: string | Uint8Array | readonly (string | Uint8Array)[]): Feature {
  return featureOf("bytes", isBytes(values) ? [values] : listOf(values), "bytes");
}

function listOf(values: unknown): ArrayLike<unknown> {
  return Array.isArray(values) || typedArrayName(values) !== undefined ? (values as ArrayLike<unknown>) : [values];
}
