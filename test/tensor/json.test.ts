import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { isServingError } from "../../src/errors.js";
import { type DType, dtypes } from "../../src/tensor/dtype.js";
import { isJsonDType, parseJson, tensorFromJson, writeRowsJson, writeTensorJson } from "../../src/tensor/json.js";
import { type AnyTensor, tensor } from "../../src/tensor/tensor.js";
import { errorFrom } from "../support/error-from.js";

const bytes = (text: string) => new TextEncoder().encode(text);
const parse = (text: string) => parseJson(bytes(text));

interface GoldenExchange {
  id: string;
  request: { body?: string; body_b64?: string };
  response: { status: number; body?: string };
}

const golden = JSON.parse(readFileSync(new URL("../fixtures/golden/errors-rest.json", import.meta.url), "utf8")) as {
  exchanges: GoldenExchange[];
};
const jsonExchanges = golden.exchanges.filter(({ id }) => id.startsWith("errors-rest/json/"));

describe("parseJson", () => {
  it.each([
    ["-0", 0n],
    ["1.0", 1],
    ["-12", -12n],
    ["9223372036854775807", 9223372036854775807n],
    ["18446744073709551615", 18446744073709551615n],
    ["-9223372036854775808", -9223372036854775808n],
    ["18446744073709551616", 2 ** 64],
    ["-9223372036854775809", -(2 ** 63)],
    ["1e2", 100],
    ["1e-400", 0],
    ["Infinity", Number.POSITIVE_INFINITY],
    ["-Inf", Number.NEGATIVE_INFINITY],
    ["Inf", Number.POSITIVE_INFINITY],
    ['"a\\u00e9\\ud83d\\ude00\\n\\/"', "aé😀\n/"],
    ["[]", []],
    ["[[], [1, 2.5], true, null]", [[], [1n, 2.5], true, null]],
    ["[1] and more", [1n]],
  ])("reads %s", (text, value) => {
    expect(parse(text)).toEqual(value);
  });

  it("keeps the sign of -0.0 and reads NaN and -NaN", () => {
    expect(Object.is(parse("-0.0"), -0)).toBe(true);
    expect(parse("[NaN, -NaN]")).toEqual([Number.NaN, expect.any(Number)]);
  });

  it("makes objects without prototype in which the first duplicate key wins", () => {
    const value = parse('{"a": 1, "__proto__": 2, "a": 3, "b": {"c": {}}}') as Record<string, unknown>;
    expect(Object.getPrototypeOf(value)).toBeNull();
    expect(Object.entries(value)).toEqual([
      ["a", 1n],
      ["__proto__", 2n],
      ["b", expect.objectContaining({})],
    ]);
  });

  it("gives strings that are not UTF-8 as bytes", () => {
    expect(parseJson(Uint8Array.of(0x22, 0xff, 0x5c, 0x6e, 0x22))).toEqual(Uint8Array.of(0xff, 10));
    expect(parse('"\\ude00"')).toEqual(Uint8Array.of(0xed, 0xb8, 0x80));
  });

  it("reads lists nested 200,000 deep, and refuses them where a depth is set", () => {
    const text = bytes("[".repeat(200_000) + "]".repeat(200_000));
    expect(Array.isArray(parseJson(text))).toBe(true);
    expect(() => parseJson(text, { maxDepth: 300 })).toThrow(/deeper than 300/);
  });

  // The empty body has a text of its own, without offset, that belongs to the server's handler.
  const recorded = jsonExchanges.filter(({ id }) => !id.endsWith("/empty"));

  it("has recorded answers to compare with", () => {
    expect(recorded.length).toBe(57);
  });

  it.each(recorded.map((exchange) => [exchange.id, exchange] as const))(
    "says what the real server says: %s",
    (_, { request, response }) => {
      const body = request.body_b64 === undefined ? bytes(request.body ?? "") : new Uint8Array(Buffer.from(request.body_b64, "base64"));
      const text =
        response.body === undefined ? "" : String((JSON.parse(response.status === 200 ? "{}" : response.body) as { error?: string }).error);
      if (text.startsWith("JSON Parse error: ")) {
        const error = errorFrom(() => parseJson(body));
        expect(isServingError(error, "FormatError") && `JSON Parse error: ${error.message}`).toBe(text);
      } else {
        expect(() => parseJson(body)).not.toThrow();
      }
    },
  );
});

describe("tensorFromJson", () => {
  it.each<[DType, string, readonly number[], readonly unknown[]]>([
    ["float32", "[[1, 2.5], [NaN, -Infinity]]", [2, 2], [1, 2.5, Number.NaN, Number.NEGATIVE_INFINITY]],
    ["float32", "3.5e38", [], [Number.POSITIVE_INFINITY]],
    ["float64", "0.1", [], [0.1]],
    ["int8", "[-128, 127]", [2], [-128, 127]],
    ["int64", "[9223372036854775807]", [1], [9223372036854775807n]],
    ["uint64", "[18446744073709551615]", [1], [18446744073709551615n]],
    ["bool", "[true, false]", [2], [1, 0]],
    ["string", '["a", {"b64": "/w=="}, {"b64": "/w"}]', [3], [Uint8Array.of(97), Uint8Array.of(255), Uint8Array.of(255)]],
    ["float32", "[[], []]", [2, 0], []],
    ["float32", "[]", [0], []],
  ])("makes %s from %s", (dtype, text, shape, values) => {
    const result = tensorFromJson(parse(text), dtype, "x");
    expect({ dtype: result.dtype, shape: result.shape, values: [...result.values] }).toEqual({ dtype, shape, values });
  });

  it.each<[DType, string, string]>([
    ["float32", "[[1.0, 2.0], [3.0]]", "Encountered list at unexpected size: 1 at level: 1 expected size: 2"],
    ["float32", "[1.0, [2.0]]", "Encountered list at unexpected level: 1 expected < 1"],
    ["float32", "[[1.0], 2.0]", "JSON Value: 2.0 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"],
    ["float32", "null", "JSON Value: null Type: Null is not of expected type: float"],
    ["float32", '{"a": 1}', 'JSON Value: {\n    "a": 1\n} Type: Object is not of expected type: float'],
    ["int32", "[1.0]", "JSON Value: 1.0 Type: Number is not of expected type: int32"],
    ["int8", "[300]", "JSON Value: 300 Type: Number is not of expected type: int8"],
    ["int64", '["123"]', 'JSON Value: "123" Type: String is not of expected type: int64'],
    ["uint64", "[-1]", "JSON Value: -1 Type: Number is not of expected type: uint64"],
    ["bool", "[1]", "JSON Value: 1 Type: Number is not of expected type: bool"],
    ["string", "[1]", "JSON Value: 1 Type: Number is not of expected type: string"],
    ["string", '[{"b64": "%%%"}]', "Unable to base64 decode"],
    ["string", '[{"b64": "A"}]', "Unable to base64 decode"],
    ["string", '[{"b64": "QQ==="}]', "Unable to base64 decode"],
    ["string", '[{"b64": 5}]', 'JSON Value: {\n    "b64": 5\n} not formatted correctly for base64 data'],
    ["float16", "[[1.5]]", "Conversion of JSON Value: 1.5 to type: half"],
  ])("refuses %s from %s with the server's words", (dtype, text, message) => {
    expect((errorFrom(() => tensorFromJson(parse(text), dtype, "")) as Error).message).toContain(message);
  });

  it("refuses a rank above 254", () => {
    expect(() => tensorFromJson(parse(`${"[".repeat(10_000)}1${"]".repeat(10_000)}`), "float32", "x")).toThrow(/254/);
    expect(tensorFromJson(parse(`${"[".repeat(254)}1${"]".repeat(254)}`), "float32", "x").shape.length).toBe(254);
  });
});

describe("writeTensorJson", () => {
  it.each<[AnyTensor, string]>([
    [tensor("float32", [2, 2], [0.1, 1, -0, 16777216]), "[[0.1,1],[-0.0,16777216]]"],
    [
      tensor("float32", [4], [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e-45]),
      "[NaN,Infinity,-Infinity,1.4013e-45]",
    ],
    [tensor("float64", [], [0.1]), "0.1"],
    [tensor("int64", [2], [9223372036854775807n, -1n]), "[9223372036854775807,-1]"],
    [tensor("bool", [2], [true, false]), "[true,false]"],
    [tensor("string", [2], ['é"', Uint8Array.of(255)]), '["é\\"",{"b64":"/w=="}]'],
    [tensor("float32", [2, 0], []), "[[],[]]"],
  ])("prints %#", (value, text) => {
    expect(writeTensorJson(value)).toBe(text);
  });

  it("prints whole floats with a point and strings as base64 where asked to", () => {
    expect(writeTensorJson(tensor("float32", [2], [1, 1e21]), { floatPoint: true })).toBe("[1.0,1e+21]");
    expect(writeTensorJson(tensor("string", [], ["a"]), { strings: "base64" })).toBe('{"b64":"YQ=="}');
  });

  it("prints float32 so that it reads back equal", () => {
    const bits = new Uint32Array(20_000).map((_, i) => Math.imul(i, 0x9e3779b1) & 0xff7fffff);
    const values = new Float32Array(bits.buffer).map((value) => (Number.isFinite(value) ? value : 0));
    const back = tensorFromJson(parse(writeTensorJson(tensor("float32", [values.length], values))), "float32", "x");
    expect(new Uint8Array((back.values as Float32Array).buffer)).toEqual(new Uint8Array(values.buffer));
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
    expect(() => writeTensorJson(tensor("float16", [1], [1]))).toThrow(/float16/);
  });
});

describe("writeRowsJson", () => {
  it("prints one text for each row", () => {
    expect(writeRowsJson(tensor("int32", [2, 2], [1, 2, 3, 4]))).toEqual(["[1,2]", "[3,4]"]);
    expect(() => writeRowsJson(tensor("int32", [], [1]))).toThrow(/rows/);
  });
});
