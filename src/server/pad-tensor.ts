/** Inputs of unequal shape made equal (`pad_variable_length_inputs`; `batching_util.cc` of TensorFlow Serving 2.20.0). */
import { dtypes } from "../tensor/dtype.js";
import { elementCount, formatShape } from "../tensor/shape.js";
import { type AnyTensor, tensor } from "../tensor/tensor.js";
import { refusal } from "./refusal.js";

/** Ranks that TensorFlow pads. */
const maxPaddedRank = 6;

/** Elements of one padded input: small requests with few long dimensions each would make a giant one together. */
const maxPaddedElements = 2 ** 28;

/**
 * Inputs that have, but for their rows, the largest of their sizes in every dimension; each is filled up with its own first element.
 *
 * @throws ServingError if their ranks differ or are above 6, or too much memory would be needed.
 */
export function padTo(inputs: readonly AnyTensor[]): readonly AnyTensor[] {
  const ranks = new Set(inputs.map(({ shape }) => shape.length));
  // The real server ends at the first.
  if (ranks.size > 1) throw refusal("FAILED_PRECONDITION", "Tensors with the same name from different tasks have different ranks");
  const [rank = 1] = ranks;
  if (rank > maxPaddedRank) throw refusal("INVALID_ARGUMENT", `Only tensors with rank from 1 to ${maxPaddedRank} can be padded.`);
  const sizes = Array.from({ length: rank - 1 }, (_, axis) => largest(inputs, axis + 1));
  return inputs.map((input) => padded(input, [input.shape[0] ?? 0, ...sizes]));
}

function largest(inputs: readonly AnyTensor[], axis: number): number {
  let size = 0;
  for (const { shape } of inputs) size = Math.max(size, shape[axis] ?? 0);
  return size;
}

function padded(input: AnyTensor, shape: readonly number[]): AnyTensor {
  if (input.shape.join() === shape.join()) return input;
  const count = elementCount(shape);
  if (count > maxPaddedElements) {
    throw refusal("RESOURCE_EXHAUSTED", `Cannot pad an input of shape ${formatShape(input.shape)} to ${formatShape(shape)}`);
  }
  const values = filledValues(input, count);
  // Elements that stand together in both: a row of the last dimension.
  const length = input.shape.at(-1) ?? 0;
  const width = valuesPerElement(input);
  for (let from = 0; from < input.size; from += length) {
    const to = offsetIn(shape, indexOf(from, input.shape));
    for (let i = 0; i < length * width; i++) values[to * width + i] = input.values[from * width + i] as never;
  }
  return tensor(input.dtype, shape, values as never) as AnyTensor;
}

/** As many elements as the first one of an input; zeros or empty strings where it has none. */
function filledValues(input: AnyTensor, count: number): AnyTensor["values"] {
  const width = valuesPerElement(input);
  if (input.dtype === "string") return new Array<Uint8Array>(count).fill(input.values[0] ?? new Uint8Array());
  const values = new dtypes[input.dtype].array(count * width);
  if (input.size > 0) for (let i = 0; i < values.length; i++) values[i] = input.values[i % width] as never;
  return values;
}

function valuesPerElement({ dtype }: AnyTensor): number {
  return dtypes[dtype].kind === "complex" ? 2 : 1;
}

function indexOf(offset: number, shape: readonly number[]): number[] {
  const index: number[] = [];
  let rest = offset;
  for (const size of shape.toReversed()) {
    index.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  return index;
}

function offsetIn(shape: readonly number[], index: readonly number[]): number {
  return shape.reduce((offset, size, axis) => offset * size + (index[axis] ?? 0), 0);
}
