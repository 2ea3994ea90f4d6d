import { describe, expect, it } from "vitest";
import { type DType, dtypes } from "../../src/tensor/dtype.js";
import { isJsonDType, parseJson, tensorFromJson } from "../../src/tensor/json.js";
import { JsonPrinter, type JsonPrinterOptions } from "../../src/tensor/json-print.js";
import { type AnyTensor, tensor } from "../../src/tensor/tensor.js";

const textOf = (printer: JsonPrinter) => new TextDecoder().decode(printer.bytes());
const print = (value: AnyTensor, options?: JsonPrinterOptions) => textOf(new JsonPrinter(options).tensor(value));

describe("JsonPrinter.tensor", () => {
  it.each<[AnyTensor, string]>([
    [tensor("float32", [2, 2], [0.1, 1, -0, 16777216]), "[[0.1,1],[-0.0,16777216]]"],
    [tensor("float32", [4], [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e-45]), "[NaN,Infinity,-Infinity,1e-45]"],
    [tensor("float32", [], [-2.5]), "-2.5"],
    [tensor("float32", [4], [0.000001, 9.999999e-7, 9999999, 8388607.5]), "[0.000001,9.999999e-7,9999999,8388607.5]"],
    [tensor("float32", [3], [0.3, 0.33333334, 123.456]), "[0.3,0.33333334,123.456]"],
    [tensor("float64", [], [0.1]), "0.1"],
    [tensor("float64", [3], [-0, 0.30000000000000004, 5e-324]), "[-0.0,0.30000000000000004,5e-324]"],
    [tensor("int8", [2], [-128, 0]), "[-128,0]"],
    [tensor("int32", [3], [-2147483648, 2147483647, 1000000000]), "[-2147483648,2147483647,1000000000]"],
    [tensor("uint32", [1], [4294967295]), "[4294967295]"],
    [
      tensor("int64", [4], [9223372036854775807n, -9223372036854775808n, -1n, 9007199254740993n]),
      "[9223372036854775807,-9223372036854775808,-1,9007199254740993]",
    ],
    [tensor("uint64", [1], [18446744073709551615n]), "[18446744073709551615]"],
    [tensor("bool", [2], [true, false]), "[true,false]"],
    [tensor("string", [2], ['é"', Uint8Array.of(255)]), '["é\\"",{"b64":"/w=="}]'],
    [tensor("string", [1], ["\u{feff}a"]), '["\u{feff}a"]'],
    [tensor("float32", [2, 0], []), "[[],[]]"],
    [tensor("float32", [0, 3], []), "[]"],
    [tensor("int32", [2, 1, 2], [1, 2, 3, 4]), "[[[1,2]],[[3,4]]]"],
  ])("prints %#", (value, text) => {
    expect(print(value)).toBe(text);
  });

  it("prints whole floats with a point where asked to", () => {
    expect(print(tensor("float32", [4], [1, 1e21, 0.5, -0]), { floatPoint: true })).toBe("[1.0,1e+21,0.5,-0.0]");
    expect(print(tensor("float64", [2], [1e20, Number.NaN]), { floatPoint: true })).toBe("[100000000000000000000.0,NaN]");
  });

  it("prints float32 as the shortest decimal that reads back equal", () => {
    const random = new Uint32Array(20_000).map((_, i) => Math.imul(i, 0x9e3779b1) & 0xff7fffff);
    const powers = Float32Array.from({ length: 277 }, (_, i) => 2 ** (i - 149));
    const plain = Float32Array.from({ length: 20_000 }, (_, i) => (random[i] as number) / 2 ** (16 + (i % 40)));
    const values = Float32Array.of(
      ...new Float32Array(random.buffer).map((value) => (Number.isFinite(value) ? value : 0)),
      ...powers,
      ...plain,
    );
    const texts = print(tensor("float32", [values.length], values))
      .slice(1, -1)
      .split(",");
    const wrong = texts.flatMap((text, i) => (text === shortest(values[i] as number) ? [] : [[values[i], text]]));
    expect(wrong).toEqual([]);
  });

  /** The same by trying one digit more at a time, as `toPrecision` rounds. */
  function shortest(value: number): string {
    if (Object.is(value, -0)) return "-0.0";
    if (Number.isInteger(value) && Math.abs(value) < 1e7) return String(value);
    for (let digits = 1; ; digits++) {
      const rounded = Number(value.toPrecision(digits));
      if (Math.fround(rounded) === value) return String(rounded);
    }
  }

  it("grows beyond the expected length, with numbers, text and lists", () => {
    const numbers = tensor(
      "float64",
      [500],
      Float64Array.from({ length: 500 }, (_, i) => -Math.PI * 10 ** -i),
    );
    const texts = tensor("string", [2], ["é".repeat(5000), "b"]);
    const printer = new JsonPrinter({ expectedBytes: 0 })
      .tensor(numbers)
      .raw("|")
      .tensor(texts)
      .raw("|")
      .tensor(tensor("bool", [9, 0], []));
    const [first = "", second, third] = textOf(printer).split("|");
    expect(tensorFromJson(parseJson(new TextEncoder().encode(first)), "float64", "x").values).toEqual(numbers.values);
    expect([second, third]).toEqual([JSON.stringify(texts.strings()), "[[],[],[],[],[],[],[],[],[]]"]);
  });

  it("carries exactly the dtypes that REST can", () => {
    const carried = (Object.keys(dtypes) as DType[]).filter(isJsonDType);
    expect(carried.sort()).toEqual([
      "bool",
      "float32",
      "float64",
      "int16",
      "int32",
      "int64",
      "int8",
      "string",
      "uint32",
      "uint64",
      "uint8",
    ]);
    expect(() => print(tensor("float16", [1], [1]))).toThrow(/float16/);
  });
});

describe("JsonPrinter.row", () => {
  it("prints what stands at one index of dimension 0", () => {
    const rows = tensor("int32", [2, 2], [1, 2, 3, 4]);
    expect(textOf(new JsonPrinter().row(rows, 1).raw(" ").row(rows, 0))).toBe("[3,4] [1,2]");
    expect(textOf(new JsonPrinter().row(tensor("float32", [3], [1, 2, 3]), 2))).toBe("3");
    expect(() => new JsonPrinter().row(tensor("int32", [], [1]), 0)).toThrow(/rows/);
  });
});
