/** Predict with every dtype, and values of it that need care somewhere. */
import { type AnyTensor, type DType, tensor } from "../../../src/index.js";
import { type ContractCase, fails } from "../contract.js";
import { predictCase } from "./predict.js";

/** Input and outputs of one signature of dtype_zoo. */
interface DtypeCase {
  readonly signatureName: string;
  readonly x: AnyTensor;
  readonly more?: Readonly<Record<string, AnyTensor>>;
}

const inf = Number.POSITIVE_INFINITY;
const doubled = (signatureName: string, x: AnyTensor, sum: AnyTensor): DtypeCase => ({ signatureName, x, more: { sum } });

/** Dtypes that JSON has a form for. */
const jsonDtypes: readonly DtypeCase[] = [
  doubled(
    "float",
    tensor("float32", [6], [0.1, -0, 1e38, Number.NaN, inf, -inf]),
    tensor("float32", [6], [0.2, -0, 2e38, Number.NaN, inf, -inf]),
  ),
  // Short decimal numbers: a server may read and write longer ones with another last digit.
  doubled(
    "double",
    tensor("float64", [6], [0.1, -0, 123456.789, Number.NaN, inf, -inf]),
    tensor("float64", [6], [0.2, -0, 246913.578, Number.NaN, inf, -inf]),
  ),
  doubled("int8", tensor("int8", [2], [-128, 127]), tensor("int8", [2], [0, -2])),
  doubled("int16", tensor("int16", [2], [-32768, 32767]), tensor("int16", [2], [0, -2])),
  doubled("int32", tensor("int32", [1, 2, 1], [-(2 ** 31), 2 ** 31 - 1]), tensor("int32", [1, 2, 1], [0, -2])),
  doubled("int64", tensor("int64", [3], [-(2n ** 63n), 2n ** 53n + 1n, 2n ** 63n - 1n]), tensor("int64", [3], [0n, 2n ** 54n + 2n, -2n])),
  doubled("uint8", tensor("uint8", [2], [0, 255]), tensor("uint8", [2], [0, 254])),
  doubled("uint32", tensor("uint32", [2], [0, 2 ** 32 - 1]), tensor("uint32", [2], [0, 2 ** 32 - 2])),
  doubled("uint64", tensor("uint64", [2], [0n, 2n ** 64n - 1n]), tensor("uint64", [2], [0n, 2n ** 64n - 2n])),
  { signatureName: "bool", x: tensor("bool", [2, 1], [true, false]), more: { not: tensor("bool", [2, 1], [false, true]) } },
  {
    signatureName: "string",
    x: tensor("string", [4], ["", "é \u{1f600}", 'a "quoted" \\ \n line', '{"b64":"AA=="}']),
    more: {
      exclaimed: tensor("string", [4], ["!", "é \u{1f600}!", 'a "quoted" \\ \n line!', '{"b64":"AA=="}!']),
      length: tensor("int32", [4], [0, 7, 19, 14]),
    },
  },
];

/** Dtypes that only gRPC can carry. */
const binaryDtypes: readonly DtypeCase[] = [
  doubled("half", tensor("float16", [2], [1.5, -inf]), tensor("float16", [2], [3, -inf])),
  doubled("bfloat16", tensor("bfloat16", [2], [1.5, -0]), tensor("bfloat16", [2], [3, -0])),
  doubled("uint16", tensor("uint16", [2], [0, 65535]), tensor("uint16", [2], [0, 65534])),
  doubled("complex64", tensor("complex64", [1], new Float32Array([1, -2])), tensor("complex64", [1], new Float32Array([2, -4]))),
  doubled("complex128", tensor("complex128", [1], new Float64Array([1, -2])), tensor("complex128", [1], new Float64Array([2, -4]))),
  { signatureName: "qint8", x: tensor("qint8", [1], new Int8Array([-1])) },
  { signatureName: "quint8", x: tensor("quint8", [1], new Uint8Array([1])) },
  { signatureName: "qint32", x: tensor("qint32", [1], new Int32Array([-1])) },
];

/** Dtypes that no SavedModel of the suite has. */
const rareDtypes: readonly AnyTensor[] = [
  tensor("qint16", [1], new Int16Array([-1])),
  tensor("quint16", [1], new Uint16Array([1])),
  tensor("int4", [2], [-8, 7]),
  tensor("uint4", [2], [0, 15]),
  tensor("float8_e5m2", [1], new Uint8Array([60])),
  tensor("float8_e4m3fn", [1], new Uint8Array([56])),
  tensor("float8_e4m3fnuz", [1], new Uint8Array([56])),
  tensor("float8_e4m3b11fnuz", [1], new Uint8Array([56])),
  tensor("float8_e5m2fnuz", [1], new Uint8Array([60])),
];

const notInJson = (dtype: DType) => ({ REST: fails("INVALID_ARGUMENT", `REST cannot carry ${dtype}, use gRPC`) });

function zooCase({ signatureName, x, more = {} }: DtypeCase, over: ContractCase["over"] = {}): ContractCase {
  const model = { name: "dtype_zoo", signatureName };
  return predictCase({ title: `${x.dtype} values`, kind: "ok", model, inputs: { x }, expected: { identity: x, ...more }, over });
}

const zoo = (signatureName: string) => ({ name: "dtype_zoo", signatureName });
const scalarOutput = { "REST row": fails("INVALID_ARGUMENT", "expected rows, got a scalar") };

/** Every dtype, and nesting of strings and bytes. */
export const dtypeCases: readonly ContractCase[] = [
  ...jsonDtypes.map((test) => zooCase(test)),
  ...binaryDtypes.map((test) => zooCase(test, notInJson(test.x.dtype))),
  ...rareDtypes.map((x) =>
    predictCase({
      title: `${x.dtype} values`,
      kind: "ok",
      model: { name: "identity", signatureName: x.dtype },
      inputs: { x },
      expected: { y: x },
      over: notInJson(x.dtype),
      needs: "JavaScript models",
    }),
  ),
  predictCase({
    title: "a bare string",
    kind: "ok",
    model: zoo("string"),
    inputs: "é",
    options: { outputFilter: ["exclaimed"] },
    expected: { exclaimed: tensor("string", [], ["é!"]) },
    over: scalarOutput,
  }),
  predictCase({
    title: "nested strings and bytes that are no UTF-8",
    kind: "ok",
    model: zoo("string"),
    inputs: { x: [["a"], [new Uint8Array([255])]] },
    options: { outputFilter: ["identity"] },
    expected: { identity: tensor("string", [2, 1], ["a", new Uint8Array([255])]) },
  }),
  predictCase({
    title: "names that end in _bytes",
    kind: "ok",
    model: zoo("foo_bytes"),
    inputs: { foo_bytes: ["text", new Uint8Array([128])] },
    expected: {
      bar_bytes: tensor("string", [2], [new Uint8Array([0, 255, ...Buffer.from("text")]), new Uint8Array([0, 255, 128])]),
      plain: tensor("string", [2], ["4", "1"]),
    },
  }),
  predictCase({
    title: "a tensor of rank 7",
    kind: "ok",
    model: zoo("unknown_rank"),
    inputs: { x: tensor("float32", [1, 2, 1, 1, 1, 1, 1], [1, -2]) },
    options: { outputFilter: ["negative", "shape"], restFormat: "column" },
    expected: {
      negative: tensor("float32", [1, 2, 1, 1, 1, 1, 1], [-1, 2]),
      shape: tensor("int64", [7], [1, 2, 1, 1, 1, 1, 1]),
    },
  }),
];
