/** The SavedModel `dtype_zoo` in JavaScript: a signature for each dtype, most of which give the input and its double. */
import { type AnyTensor, type DType, type Tensor, tensor, toFloat32 } from "../../src/index.js";
import { type Servable, type ServableOutputs, servable } from "../../src/server/index.js";

/** Dtypes by the name of the signature that answers with `identity` and `sum`. */
const numbers = {
  half: "float16",
  bfloat16: "bfloat16",
  float: "float32",
  double: "float64",
  int8: "int8",
  int16: "int16",
  int32: "int32",
  int64: "int64",
  uint8: "uint8",
  uint16: "uint16",
  uint32: "uint32",
  uint64: "uint64",
  complex64: "complex64",
  complex128: "complex128",
} as const satisfies Record<string, DType>;

const any = <D extends DType>(dtype: D) => ({ dtype, shape: null });
const vector = <D extends DType>(dtype: D) => ({ dtype, shape: [null] });
const scalar = <D extends DType>(dtype: D) => ({ dtype, shape: [] });

/** Every element added to itself; integers wrap around, as in TensorFlow. */
function doubled(x: AnyTensor): AnyTensor {
  const isSmallFloat = x.dtype === "float16" || x.dtype === "bfloat16";
  // A typed array of numbers or of bigints: one addition does for both.
  const values = isSmallFloat ? toFloat32(x) : (x.values as Float32Array);
  return tensor(x.dtype, x.shape, values.map((value) => value + value) as never) as AnyTensor;
}

/** A servable with the one signature `name`, of any input `x`. */
function signature(name: string, dtype: DType, outputNames: readonly string[], compute: (x: AnyTensor) => ServableOutputs): Servable {
  const outputs = Object.fromEntries(outputNames.map((output) => [output, any(dtype)]));
  return servable({ signatures: { [name]: { inputs: { x: any(dtype) }, outputs } }, predict: ({ x }) => compute(x as AnyTensor) as never });
}

const strings = (shape: readonly number[], values: readonly (string | Uint8Array)[]) => tensor("string", shape, [...values]);
const sumOf = (values: Float32Array) => values.reduce((sum, value) => sum + value, 0);
const rowSums = ({ values }: Tensor<"float32">) =>
  Array.from({ length: values.length / 3 }, (_, i) => sumOf(values.subarray(3 * i, 3 * i + 3)));

const servables: Readonly<Record<string, Servable>> = {
  ...Object.fromEntries(
    Object.entries(numbers).map(([name, dtype]) => [
      name,
      signature(name, dtype, ["identity", "sum"], (x) => ({ identity: x, sum: doubled(x) })),
    ]),
  ),
  ...Object.fromEntries(
    (["qint8", "quint8", "qint32"] as const).map((dtype) => [dtype, signature(dtype, dtype, ["identity"], (x) => ({ identity: x }))]),
  ),
  bool: signature("bool", "bool", ["identity", "not"], (x) => ({
    identity: x,
    not: tensor(
      "bool",
      x.shape,
      x.as("bool").values.map((value) => 1 - value),
    ),
  })),
  string: servable({
    signatures: {
      string: { inputs: { x: any("string") }, outputs: { identity: any("string"), exclaimed: any("string"), length: any("int32") } },
    },
    predict: ({ x }) => ({
      identity: x,
      exclaimed: strings(
        x.shape,
        x.values.map((bytes) => Buffer.concat([bytes, Buffer.from("!")])),
      ),
      length: tensor(
        "int32",
        x.shape,
        x.values.map(({ length }) => length),
      ),
    }),
  }),
  scalar: servable({
    signatures: { scalar: { inputs: { x: scalar("float32") }, outputs: { y: scalar("float32"), rank: scalar("int32") } } },
    // TensorFlow folded the rank of the signature into the graph.
    predict: ({ x }) => ({ y: doubled(x).as("float32"), rank: 0 }),
  }),
  empty: servable({
    signatures: {
      empty: {
        inputs: { x: { dtype: "float32", shape: [null, 3] } },
        outputs: { none: { dtype: "float32", shape: [null, 3] }, sum: vector("float32"), total: scalar("float32") },
      },
    },
    predict: ({ x }) => ({ none: tensor("float32", [0, 3], []), sum: tensor("float32", [x.size / 3], rowSums(x)), total: sumOf(x.values) }),
  }),
  join: servable({
    signatures: {
      join: {
        inputs: { parts: vector("string"), separator: scalar("string") },
        outputs: { joined: scalar("string"), count: scalar("int32") },
      },
    },
    predict: ({ parts, separator }) => ({
      joined: strings([], [Buffer.concat(parts.values.flatMap((part) => [part, ...separator.values]))]),
      count: parts.size,
    }),
  }),
  foo_bytes: servable({
    signatures: {
      foo_bytes: { inputs: { foo_bytes: vector("string") }, outputs: { bar_bytes: vector("string"), plain: vector("string") } },
    },
    predict: ({ foo_bytes: { shape, values } }) => ({
      bar_bytes: strings(
        shape,
        values.map((bytes) => Buffer.concat([Buffer.from([0, 255]), bytes])),
      ),
      plain: strings(
        shape,
        values.map(({ length }) => `${length}`),
      ),
    }),
  }),
  unknown_rank: servable({
    signatures: {
      unknown_rank: {
        inputs: { x: any("float32") },
        outputs: { negative: any("float32"), shape: vector("int64"), flat: vector("float32") },
      },
    },
    predict: ({ x }) => ({
      negative: tensor(
        "float32",
        x.shape,
        x.values.map((value) => -value),
      ),
      shape: tensor("int64", [x.shape.length], [...x.shape]),
      flat: tensor("float32", [x.size], x.values),
    }),
  }),
};

/** All of its signatures in one. */
export const dtypeZoo: Servable = {
  signatures: Object.assign({}, ...Object.values(servables).map(({ signatures }) => signatures)),
  predict: (inputs, context) => (servables[context.signatureName] as Servable).predict(inputs, context),
};
