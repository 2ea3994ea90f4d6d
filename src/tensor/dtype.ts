/**
 * THE dtype table: every fact about an element type stands here once, and the types are derived from it.
 *
 * Wire numbers are those of `tensorflow.DataType` (TensorFlow 2.20.0); a test compares them with the generated enum.
 */

/** Groups of dtypes that follow the same rules when values are converted. */
export type DTypeKind = "float" | "int" | "bigint" | "bool" | "string" | "complex" | "quantized" | "float8";

/** One row of the table. */
interface DTypeInfo {
  /** Number of the dtype in `tensorflow.DataType`. */
  readonly wire: number;
  /** Constructor of the flat values; a string tensor holds one `Uint8Array` per element in an array. */
  readonly array:
    | Float32ArrayConstructor
    | Float64ArrayConstructor
    | Int8ArrayConstructor
    | Int16ArrayConstructor
    | Int32ArrayConstructor
    | Uint8ArrayConstructor
    | Uint16ArrayConstructor
    | Uint32ArrayConstructor
    | BigInt64ArrayConstructor
    | BigUint64ArrayConstructor
    | ArrayConstructor;
  /** Bytes per element in `tensor_content`; 0 for strings, whose elements differ in length. */
  readonly bytes: number;
  readonly kind: DTypeKind;
  /** Inclusive range of whole-number dtypes whose range is narrower than, or equal to, that of their array. */
  readonly min?: number;
  readonly max?: number;
}

export const dtypes = {
  float32: { wire: 1, array: Float32Array, bytes: 4, kind: "float" },
  float64: { wire: 2, array: Float64Array, bytes: 8, kind: "float" },
  int32: { wire: 3, array: Int32Array, bytes: 4, kind: "int", min: -2147483648, max: 2147483647 },
  uint8: { wire: 4, array: Uint8Array, bytes: 1, kind: "int", min: 0, max: 255 },
  int16: { wire: 5, array: Int16Array, bytes: 2, kind: "int", min: -32768, max: 32767 },
  int8: { wire: 6, array: Int8Array, bytes: 1, kind: "int", min: -128, max: 127 },
  string: { wire: 7, array: Array, bytes: 0, kind: "string" },
  complex64: { wire: 8, array: Float32Array, bytes: 8, kind: "complex" },
  int64: { wire: 9, array: BigInt64Array, bytes: 8, kind: "bigint" },
  bool: { wire: 10, array: Uint8Array, bytes: 1, kind: "bool" },
  qint8: { wire: 11, array: Int8Array, bytes: 1, kind: "quantized", min: -128, max: 127 },
  quint8: { wire: 12, array: Uint8Array, bytes: 1, kind: "quantized", min: 0, max: 255 },
  qint32: { wire: 13, array: Int32Array, bytes: 4, kind: "quantized", min: -2147483648, max: 2147483647 },
  bfloat16: { wire: 14, array: Uint16Array, bytes: 2, kind: "float" },
  qint16: { wire: 15, array: Int16Array, bytes: 2, kind: "quantized", min: -32768, max: 32767 },
  quint16: { wire: 16, array: Uint16Array, bytes: 2, kind: "quantized", min: 0, max: 65535 },
  uint16: { wire: 17, array: Uint16Array, bytes: 2, kind: "int", min: 0, max: 65535 },
  complex128: { wire: 18, array: Float64Array, bytes: 16, kind: "complex" },
  float16: { wire: 19, array: Uint16Array, bytes: 2, kind: "float" },
  uint32: { wire: 22, array: Uint32Array, bytes: 4, kind: "int", min: 0, max: 4294967295 },
  uint64: { wire: 23, array: BigUint64Array, bytes: 8, kind: "bigint" },
  float8_e5m2: { wire: 24, array: Uint8Array, bytes: 1, kind: "float8" },
  float8_e4m3fn: { wire: 25, array: Uint8Array, bytes: 1, kind: "float8" },
  float8_e4m3fnuz: { wire: 26, array: Uint8Array, bytes: 1, kind: "float8" },
  float8_e4m3b11fnuz: { wire: 27, array: Uint8Array, bytes: 1, kind: "float8" },
  float8_e5m2fnuz: { wire: 28, array: Uint8Array, bytes: 1, kind: "float8" },
  int4: { wire: 29, array: Int8Array, bytes: 1, kind: "int", min: -8, max: 7 },
  uint4: { wire: 30, array: Uint8Array, bytes: 1, kind: "int", min: 0, max: 15 },
} as const satisfies Record<string, DTypeInfo>;

/** Element type of a tensor. */
export type DType = keyof typeof dtypes;

/** An element type that can stand in a signature but not in a tensor of this package. */
export type UnsupportedDType = "invalid" | "resource" | "variant" | `dtype_${number}`;

/** The flat `values` of a tensor of dtype `D`. Typed arrays may be views of any buffer, hence the type of `prototype`. */
export type ValuesOf<D extends DType> = D extends "string" ? Uint8Array[] : (typeof dtypes)[D]["array"]["prototype"];

const byWire: ReadonlyMap<number, DType> = new Map((Object.keys(dtypes) as DType[]).map((dtype) => [dtypes[dtype].wire, dtype]));

const unsupportedNames: Readonly<Record<number, UnsupportedDType>> = { 0: "invalid", 20: "resource", 21: "variant" };

/** The name of a `tensorflow.DataType` number; numbers without a tensor become an {@link UnsupportedDType}. */
export function dtypeFromWire(wire: number): DType | UnsupportedDType {
  return byWire.get(wire) ?? unsupportedNames[wire] ?? `dtype_${wire}`;
}

/** The `tensorflow.DataType` number of a dtype, {@link dtypeFromWire} backwards. */
export function dtypeToWire(dtype: DType | UnsupportedDType): number {
  if (isDType(dtype)) return dtypes[dtype].wire;
  const known = Object.keys(unsupportedNames).find((wire) => unsupportedNames[Number(wire)] === dtype);
  return known === undefined ? Number(dtype.slice("dtype_".length)) : Number(known);
}

/** Whether a value names a dtype that tensors can have. */
export function isDType(name: unknown): name is DType {
  return typeof name === "string" && Object.hasOwn(dtypes, name);
}

/** Upstream's enum value names where they are not `DT_` and our name in capitals. */
const upstreamNames: Readonly<Record<string, string>> = {
  float32: "DT_FLOAT",
  float64: "DT_DOUBLE",
  float16: "DT_HALF",
  dtype_31: "DT_INT2",
  dtype_32: "DT_UINT2",
  dtype_33: "DT_FLOAT4_E2M1FN",
};

/** The name of a dtype in `tensorflow.DataType`, such as `DT_FLOAT`: what stands in metadata over REST. */
export function dtypeToUpstreamName(dtype: DType | UnsupportedDType): string {
  return upstreamNames[dtype] ?? `DT_${dtype.toUpperCase()}`;
}

const byUpstreamName: ReadonlyMap<string, DType | UnsupportedDType> = new Map(
  [...(Object.keys(dtypes) as DType[]), ...Object.values(unsupportedNames), ...(["dtype_31", "dtype_32", "dtype_33"] as const)].map(
    (dtype) => [dtypeToUpstreamName(dtype), dtype],
  ),
);

/** {@link dtypeToUpstreamName} backwards; `undefined` for a name that is not known. */
export function dtypeFromUpstreamName(name: string): DType | UnsupportedDType | undefined {
  const dtype = byUpstreamName.get(name);
  if (dtype !== undefined || !name.endsWith("_REF")) return dtype;
  // Reference types have the number of their base type and 100.
  const base = byUpstreamName.get(name.slice(0, -"_REF".length));
  return base === undefined ? undefined : `dtype_${dtypeToWire(base) + 100}`;
}
