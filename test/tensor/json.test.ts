import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { isServingError } from "../../src/errors.js";
import type { DType } from "../../src/tensor/dtype.js";
import { parseJson, parseTensorJson, tensorFromJson } from "../../src/tensor/json.js";
import type { JsonValue } from "../../src/tensor/json-parser.js";
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

  it.each([
    { title: "twice nested", lists: [30_000] },
    { title: "of sizes beyond any array", lists: [4000, 4000, 4000] },
    { title: "nested 60 times", lists: new Array(60).fill(2) as number[] },
  ])("takes no memory for what ragged lists claim, $title", ({ lists }) => {
    // Each level begins with the next one, and goes on with numbers: the sizes multiply to far more than there is.
    const value = lists.reduce<JsonValue>((first, size) => [first, ...new Array<JsonValue>(size - 1).fill(1n)], [1n, 1n]);
    const before = process.memoryUsage().arrayBuffers;
    const error = errorFrom(() => tensorFromJson(value, "float32", 'output "y"'));
    expect(isServingError(error, "TensorError") && error.message).toMatch(/^output "y": JSON Value: 1 found at incorrect level/);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 2 ** 20);
  });
});

describe("parseTensorJson", () => {
  const parseOutputs = (text: string, dtype: DType) =>
    parseTensorJson(bytes(text), (key, depth) => (key === "outputs" && depth === 1 ? dtype : undefined));
  const outputsIn = ({ value }: { value: unknown }) => (value as { outputs: JsonValue }).outputs;

  it.each<[DType, string, readonly number[], ArrayLike<unknown>]>([
    [
      "float32",
      "[[1, 2.5,\n -0.0], [NaN, -Infinity, Inf]]",
      [2, 3],
      Float32Array.of(1, 2.5, -0, Number.NaN, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY),
    ],
    ["float32", "[-0, 1E+2, 3.5e38, 1e-400]", [4], Float32Array.of(0, 100, Number.POSITIVE_INFINITY, 0)],
    ["float64", "[0.1, 0.30000000000000004, 123456789012345678901]", [3], Float64Array.of(0.1, 0.30000000000000004, 123456789012345680000)],
    ["int8", "[-128, 127]", [2], Int8Array.of(-128, 127)],
    ["uint32", "[4294967295]", [1], Uint32Array.of(4294967295)],
    ["int64", "[ 9223372036854775807, -9223372036854775808]", [2], BigInt64Array.of(9223372036854775807n, -9223372036854775808n)],
    ["uint64", "[18446744073709551615]", [1], BigUint64Array.of(18446744073709551615n)],
    ["bool", "[[true], [false]]", [2, 1], Uint8Array.of(1, 0)],
  ])("reads %s lists such as %s into typed arrays", (dtype, text, shape, values) => {
    const answer = parseOutputs(`{"outputs": ${text}}`, dtype);
    const read = answer.tensors.get(outputsIn(answer));
    expect(read).toMatchObject({ dtype, shape });
    expect(read?.values).toEqual(values);
  });

  it.each<[DType, string]>([
    ["float32", "[]"],
    ["float32", "[[], []]"],
    ["float32", "2.5"],
    ["float32", "[[1], [1, 2]]"],
    ["float32", "[[1], 2]"],
    ["float32", "[1, [2]]"],
    ["float32", '["a"]'],
    ["float32", "[null]"],
    ["int32", "[1.0]"],
    ["int32", "[1e2]"],
    ["int8", "[128]"],
    ["int64", "[9223372036854775808]"],
    ["uint64", "[-1]"],
    ["bool", "[1]"],
    ["string", '["a"]'],
    ["float16", "[1]"],
    ["float32", `${"[".repeat(255)}1${"]".repeat(255)}`],
  ])("leaves %s from %s a plain value", (dtype, text) => {
    const answer = parseOutputs(`{"outputs": ${text}}`, dtype);
    expect(answer.tensors.size).toBe(0);
    expect(outputsIn(answer)).toEqual(parse(text));
  });

  it.each([
    "[01]",
    "[1.]",
    "[.5]",
    "[-]",
    "[+1]",
    "[1e]",
    "[1e400]",
    "[Nan]",
    "[Infinit]",
    "[1 2]",
    "[1,]",
    "[1",
    "[[1]",
    "[1}",
    "[1.2.3]",
  ])("refuses %s as the parser does", (text) => {
    const whole = `{"outputs": ${text}}`;
    const error = errorFrom(() => parse(whole)) as Error;
    expect(isServingError(error, "FormatError")).toBe(true);
    expect((errorFrom(() => parseOutputs(whole, "float32")) as Error).message).toBe(error.message);
  });

  it("reads the first of two members of the same name, and only where a dtype is given", () => {
    const answer = parseOutputs('{"other": [1], "outputs": [2], "outputs": [3], "inner": {"outputs": [4]}}', "float32");
    expect(answer.tensors.get(outputsIn(answer))?.values).toEqual(Float32Array.of(2));
    expect(answer.value).toMatchObject({ other: [1n], inner: { outputs: [4n] } });
  });
});
