/** Rows of tensors: joined along axis 0 for a batch, and cut out of its answer again. */
import { TensorError } from "../errors.js";
import { dtypes } from "./dtype.js";
import { formatShape } from "./shape.js";
import { type AnyTensor, Tensor } from "./tensor.js";

/** Found on joined tensors. */
const piecesKey = Symbol("pieces");

/**
 * One tensor of the rows of several, in their order.
 *
 * Nothing is copied: whoever knows {@link piecesOf} takes the rows from where they are, and `values` joins them when it is first asked for.
 * The pieces must not change until then.
 *
 * @param pieces - At least one, all of one dtype and of shapes `[rows, ...rest]` with the same `rest`.
 */
export function joinRows(pieces: readonly AnyTensor[]): AnyTensor {
  const [first] = pieces;
  if (first === undefined) throw new TensorError("expected at least one tensor to join, got none");
  if (pieces.length === 1) return first;
  let rows = 0;
  let size = 0;
  for (const piece of pieces) {
    rows += piece.shape[0] as number;
    size += piece.size;
  }
  // The values come from the accessor below.
  const joined = new Tensor(first.dtype, [rows, ...first.shape.slice(1)], undefined as never, size) as AnyTensor;
  let values: AnyTensor["values"] | undefined;
  Object.defineProperty(joined, "values", {
    enumerable: true,
    get: () => {
      values ??= joinedValues(pieces);
      return values;
    },
  });
  return Object.defineProperty(joined, piecesKey, { value: pieces });
}

/** The tensors that a joined tensor's rows stand in; `undefined` for every other tensor. */
export function piecesOf(tensor: AnyTensor): readonly AnyTensor[] | undefined {
  return (tensor as { readonly [piecesKey]?: readonly AnyTensor[] })[piecesKey];
}

/**
 * The rows from `start` up to, not including, `end`, as a tensor with memory of its own.
 *
 * @throws TensorError if the tensor does not have these rows.
 */
export function copyRows(source: AnyTensor, start: number, end: number): AnyTensor {
  const rows = source.shape[0] ?? 0;
  if (!(start >= 0 && start <= end && end <= rows))
    throw new TensorError(`expected rows ${start} to ${end} in a tensor of shape ${formatShape(source.shape)}`);
  const shape = [end - start, ...source.shape.slice(1)];
  const rowLength = rows === 0 ? 0 : source.values.length / rows;
  const size = rows === 0 ? 0 : (source.size / rows) * (end - start);
  return new Tensor(source.dtype, shape, copyValues(source, start * rowLength, end * rowLength) as never, size) as AnyTensor;
}

/** Elements that belong to nobody else; a method `slice` of the values would not do, for a Buffer's makes a view. */
function copyValues(source: AnyTensor, start: number, end: number): AnyTensor["values"] {
  // Decoders may put one memory in many places.
  if (source.dtype === "string") return source.values.slice(start, end).map((value) => new Uint8Array(value));
  const copy = new dtypes[source.dtype].array(end - start);
  copy.set(source.values.subarray(start, end) as never);
  return copy;
}

function joinedValues(pieces: readonly AnyTensor[]): AnyTensor["values"] {
  const [first] = pieces as [AnyTensor];
  if (first.dtype === "string") return pieces.flatMap((piece) => piece.values as Uint8Array[]);
  const joined = new dtypes[first.dtype].array(pieces.reduce((length, piece) => length + piece.values.length, 0));
  let position = 0;
  for (const { values } of pieces) {
    joined.set(values as never, position);
    position += values.length;
  }
  return joined;
}
