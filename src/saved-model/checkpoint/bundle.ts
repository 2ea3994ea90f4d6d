/**
 * Tensor bundles, TensorFlow's checkpoints: `<prefix>.index`, a table of the tensors, and their bytes in `<prefix>.data-0000i-of-0000n`.
 *
 * Source: tensorflow/core/util/tensor_bundle/tensor_bundle.{h,cc} (TensorFlow 2.20.0).
 */
import { type FileHandle, open } from "node:fs/promises";
import { BundleEntryProto, BundleHeaderProto, BundleHeaderProto_Endianness } from "../../../gen/tensorflow/core/protobuf/tensor_bundle.js";
import { FormatError, isServingError, ServingError } from "../../errors.js";
import { type DType, dtypeFromWire, dtypes, isDType, type UnsupportedDType } from "../../tensor/dtype.js";
import { quotedName } from "../../tensor/names.js";
import { elementCount, formatShape } from "../../tensor/shape.js";
import { WireReader } from "../../tensor/wire.js";
import { maskedCrc32c } from "../../warmup/crc32c.js";
import { decodeMessage, isMissing, naming, readFileIfThere } from "../files.js";
import { readTable } from "./table-file.js";

/** The system gives no more at once. */
const maxReadBytes = 2 ** 31 - 1;

/** What a checkpoint's index says of one tensor. */
export interface BundleTensor {
  readonly dtype: DType | UnsupportedDType;
  readonly shape: readonly number[];
  /** In how many slices it was saved, under keys of their own; 0 where it is in one piece, at the place that follows. */
  readonly slices: number;
  /** Which data file it is in, from 0. */
  readonly shard: number;
  /** Where it begins in that file, in bytes. */
  readonly offset: number;
  /** Bytes in that file. */
  readonly size: number;
  /** Masked CRC-32C of its bytes; of strings also of their lengths. */
  readonly crc32c: number;
}

/** An opened checkpoint. */
export interface Bundle {
  /** Path that the names of its files begin with. */
  readonly prefix: string;
  /** Number of data files. */
  readonly shards: number;
  /** Every tensor by its name in the checkpoint, in the order of the names. */
  readonly tensors: ReadonlyMap<string, BundleTensor>;
}

/**
 * What the index of a checkpoint says; `undefined` if there is no index. The data files are not looked at.
 *
 * @param prefix - Path such as `<version folder>/variables/variables`.
 * @throws FormatError if the index is damaged; ServingError `UNIMPLEMENTED` if the checkpoint was written on a big-endian machine.
 */
export async function readBundle(prefix: string): Promise<Bundle | undefined> {
  const path = `${prefix}.index`;
  const file = await readFileIfThere(path);
  return file === undefined ? undefined : naming(path, () => decodeIndex(prefix, file));
}

function decodeIndex(prefix: string, file: Uint8Array): Bundle {
  const tensors = new Map<string, BundleTensor>();
  let shards: number | undefined;
  for (const { key, value } of readTable(file)) {
    if (key.length === 0) {
      shards = readHeader(prefix, value);
    } else if (key[0] !== 0) {
      // Keys that begin with 0 are those of slices: `EncodeTensorNameSlice` of tensorflow/core/util/saved_tensor_slice_util.cc.
      const name = Buffer.from(key).toString();
      tensors.set(
        name,
        naming(`tensor ${quotedName(name)}`, () => readEntry(value)),
      );
    }
  }
  if (shards === undefined) throw new FormatError("expected a header under the empty key, got none");
  return { prefix, shards, tensors };
}

function readHeader(prefix: string, value: WireReader): number {
  const { numShards, endianness } = decodeMessage(BundleHeaderProto, value);
  if (endianness !== BundleHeaderProto_Endianness.LITTLE) {
    throw new ServingError(`${prefix}: expected a little-endian checkpoint, got a big-endian one`, { code: "UNIMPLEMENTED" });
  }
  return numShards;
}

function readEntry(value: WireReader): BundleTensor {
  const entry = decodeMessage(BundleEntryProto, value);
  const shape = (entry.shape?.dim ?? []).map(({ size }) => size.toNumber());
  assertShape(shape);
  return {
    dtype: dtypeFromWire(entry.dtype),
    shape,
    slices: entry.slices.length,
    shard: entry.shardId,
    offset: entry.offset.toNumber(),
    size: entry.size.toNumber(),
    crc32c: entry.crc32c,
  };
}

function assertShape(shape: readonly number[]): void {
  try {
    elementCount(shape);
  } catch (cause) {
    throw isServingError(cause, "TensorError") ? new FormatError(cause.message, { cause }) : cause;
  }
}

/** A tensor in one piece, of a dtype whose elements files hold. */
interface WholeTensor extends BundleTensor {
  readonly dtype: DType;
}

/**
 * The elements of a tensor as `TensorProto.tensor_content` has them: numbers in little-endian order; of strings all lengths as varints, then
 * all bytes. Fresh memory, after its checksum was compared.
 *
 * @throws FormatError if the data file is cut off, the checksum is another or the size does not go with the shape; ServingError `NOT_FOUND`
 *   if there is no such tensor or data file, `UNIMPLEMENTED` for a tensor in slices or of a dtype such as `variant`.
 */
export async function readTensorContent(bundle: Bundle, name: string): Promise<Uint8Array> {
  const tensor = findWhole(bundle, name);
  const path = `${bundle.prefix}.data-${padded(tensor.shard)}-of-${padded(bundle.shards)}`;
  const stored = await readRange(path, tensor);
  return naming(`${path}: tensor ${quotedName(name)}`, () => checkedContent(tensor, stored));
}

function findWhole({ prefix, tensors }: Bundle, name: string): WholeTensor {
  const tensor = tensors.get(name);
  const what = `${prefix}: tensor ${quotedName(name)}`;
  if (tensor === undefined) throw new ServingError(`${what} is not in this checkpoint`, { code: "NOT_FOUND" });
  const { dtype, slices } = tensor;
  if (slices > 0) throw new ServingError(`${what}: expected it in one piece, got ${slices} slices`, { code: "UNIMPLEMENTED" });
  if (!isDType(dtype)) throw new ServingError(`${what}: ${dtype} has no elements that are read here`, { code: "UNIMPLEMENTED" });
  return { ...tensor, dtype };
}

function padded(shard: number): string {
  return String(shard).padStart(5, "0");
}

/** The bytes at a tensor's place; none are allocated before the file is known to have them. */
async function readRange(path: string, { offset, size }: BundleTensor): Promise<Uint8Array> {
  const file = await openShard(path);
  try {
    const fileSize = (await file.stat()).size;
    if (offset < 0 || size < 0 || offset + size > fileSize) {
      throw new FormatError(`${path}: expected ${size} bytes from ${offset} on, got a file of ${fileSize} bytes`, { offset });
    }
    const bytes = new Uint8Array(size);
    for (let at = 0; at < size; ) {
      const { bytesRead } = await file.read(bytes, at, Math.min(size - at, maxReadBytes), offset + at);
      // Cut off meanwhile: the checksum will tell.
      if (bytesRead === 0) break;
      at += bytesRead;
    }
    return bytes;
  } finally {
    await file.close();
  }
}

async function openShard(path: string): Promise<FileHandle> {
  try {
    return await open(path);
  } catch (cause) {
    throw isMissing(cause) ? new ServingError(`${path}: this part of the checkpoint is missing`, { code: "NOT_FOUND", cause }) : cause;
  }
}

function checkedContent({ dtype, shape, crc32c }: WholeTensor, stored: Uint8Array): Uint8Array {
  const count = elementCount(shape);
  const expectedSize = count * dtypes[dtype].bytes;
  if (dtype !== "string" && stored.length !== expectedSize) {
    throw new FormatError(`expected ${expectedSize} bytes for ${dtype} ${formatShape(shape)}, got ${stored.length}`);
  }
  const { content, covered } = dtype === "string" ? splitStrings(stored, count) : { content: stored, covered: stored };
  const actual = maskedCrc32c(covered);
  if (actual !== crc32c) throw new FormatError(`expected the checksum ${crc32c}, got ${actual}`);
  return content;
}

/** Strings are stored as their lengths in varints, a checksum of those and all bytes; checksums cover each length as 4 bytes. */
function splitStrings(stored: Uint8Array, count: number): { content: Uint8Array; covered: Uint8Array } {
  if (count > stored.length) throw new FormatError(`expected the lengths of ${count} strings, got ${stored.length} bytes`);
  const reader = new WireReader(stored);
  const lengths = Buffer.alloc(4 * count);
  for (let i = 0; i < count; i++) lengths.writeUInt32LE(reader.varint(), 4 * i);
  const end = reader.position;
  return {
    content: Buffer.concat([stored.subarray(0, end), stored.subarray(end + 4)]),
    covered: Buffer.concat([lengths, stored.subarray(end)]),
  };
}
