/** Shapes of tensors and of the specs they are compared with. */
import { TensorError } from "../errors.js";

/** Largest rank TensorFlow has (`TensorShape::MaxDimensions`). */
export const maxRank = 254;

const maxInt64 = 2n ** 63n - 1n;

/**
 * Number of elements of a shape; 1 for a scalar.
 *
 * @throws TensorError if the rank is above 254, a dimension is no whole number from 0 up, or the count is beyond what a tensor can have.
 */
export function elementCount(shape: readonly number[]): number {
  if (shape.length > maxRank) throw new TensorError(`shape has rank ${shape.length}, expected at most ${maxRank}`);
  let count = 1;
  let safe = true;
  for (let axis = 0; axis < shape.length; axis++) {
    const dim = shape[axis];
    if (dim === undefined || !Number.isSafeInteger(dim) || dim < 0) {
      throw new TensorError(`shape ${formatShape(shape)}: dimension ${axis} is ${String(dim)}, expected a whole number from 0 to 2^53 - 1`);
    }
    count *= dim;
    safe &&= count <= Number.MAX_SAFE_INTEGER;
  }
  return safe ? count : largeElementCount(shape);
}

/** A product that left the safe integers on the way may still come back to 0; TensorFlow only refuses one that leaves int64. */
function largeElementCount(shape: readonly number[]): number {
  let count = 1n;
  for (const dim of shape) {
    count *= BigInt(dim);
    if (count > maxInt64) break;
  }
  if (count > BigInt(Number.MAX_SAFE_INTEGER)) throw new TensorError(`shape ${formatShape(shape)} has too many elements`);
  return Number(count);
}

/** A shape as it stands in messages: `[?, 224, 3]`, `unknown rank` for `null`. */
export function formatShape(shape: readonly (number | null)[] | null): string {
  if (shape === null) return "unknown rank";
  return `[${shape.map((dim) => (dim === null ? "?" : String(dim))).join(", ")}]`;
}

/** Whether two shapes are the same, dimension by dimension. */
export function shapesEqual(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((dim, axis) => dim === b[axis]);
}

/** Whether a tensor's shape fits a spec, where `null` stands for any size and a `null` shape for any rank. */
export function shapeFits(shape: readonly number[], specShape: readonly (number | null)[] | null): boolean {
  if (specShape === null) return true;
  return shape.length === specShape.length && specShape.every((dim, axis) => dim === null || dim === shape[axis]);
}
