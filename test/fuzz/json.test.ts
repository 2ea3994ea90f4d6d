import { describe, expect, it } from "vitest";
import { isServingError } from "../../src/errors.js";
import { type DType, dtypes } from "../../src/tensor/dtype.js";
import { parseJson, parseTensorJson, tensorFromJson } from "../../src/tensor/json.js";
import type { JsonObject, JsonValue } from "../../src/tensor/json-parser.js";
import { JsonPrinter } from "../../src/tensor/json-print.js";
import { type AnyTensor, tensor } from "../../src/tensor/tensor.js";
import { Random } from "../support/random.js";

/** Rounds of each test: few under `npm test`, as many as FUZZ_ROUNDS says under `npm run fuzz`. */
const rounds = Number(process.env["FUZZ_ROUNDS"] ?? 300);
const seed = Number(process.env["FUZZ_SEED"] ?? 20260802);

const numericDTypes = ["float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64", "bool"] as const;

/** Dtype, shape and bytes of the values, which tell -0 and all NaNs apart from what `toEqual` takes for the same. */
function contentOf({ dtype, shape, values }: AnyTensor): unknown {
  const bytes = ArrayBuffer.isView(values) ? Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("hex") : values;
  return { dtype, shape, bytes };
}

function randomNumber(random: Random): number {
  const bits = new DataView(random.bytes(8).buffer);
  switch (random.below(5)) {
    case 0:
      return bits.getFloat64(0);
    case 1:
      return bits.getFloat32(0);
    case 2:
      return Math.fround(random.next() * 10 ** (random.below(16) - 8));
    case 3:
      return random.below(2 ** 31) / 10 ** random.below(12);
    default:
      return random.below(2000) - 1000;
  }
}

/** Text of a number that JSON allows, also with more digits and other exponents than anyone prints. */
function randomNumberText(random: Random): string {
  const value = randomNumber(random);
  const finite = Number.isFinite(value) ? value : 0;
  const digits = (count: number) => Array.from({ length: count }, () => random.below(10)).join("");
  switch (random.below(4)) {
    case 0:
      return finite.toExponential(random.below(20));
    case 1:
      return `${random.pick(["", "-"])}${random.pick(["0", "1", "90"])}.${digits(1 + random.below(25))}${random.pick(["", "e-5", "E+17", "e300"])}`;
    case 2:
      return `${random.pick(["", "-"])}${random.below(9) + 1}${digits(random.below(22))}`;
    default:
      return String(finite);
  }
}

function nested(random: Random, shape: readonly number[], element: () => string): string {
  const [size, ...inner] = shape;
  if (size === undefined) return element();
  const blank = () => random.pick(["", "", " ", "\n    ", "\t\r"]);
  const items = Array.from({ length: size }, () => blank() + nested(random, inner, element) + blank());
  return `[${items.join(",")}]`;
}

const randomShape = (random: Random) => Array.from({ length: 1 + random.below(3) }, () => 1 + random.below(4));

type Outcome = { readonly content: unknown } | { readonly error: string };

function outcomeOf(read: () => AnyTensor): Outcome {
  try {
    return { content: contentOf(read()) };
  } catch (error) {
    if (!isServingError(error)) throw error;
    return { error: error.message };
  }
}

const outputsIn = (value: JsonValue) => (value as JsonObject)["outputs"] as JsonValue;

/** What the typed reader makes of an answer, and what the general parser makes of it. */
function bothReadings(bytes: Uint8Array, dtype: DType): { readonly typed: Outcome; readonly general: Outcome; readonly isTyped: boolean } {
  let isTyped = false;
  const typed = outcomeOf(() => {
    const { value, tensors } = parseTensorJson(bytes, (key) => (key === "outputs" ? dtype : undefined), { maxDepth: 300 });
    const read = tensors.get(outputsIn(value));
    isTyped = read !== undefined;
    return read ?? tensorFromJson(outputsIn(value), dtype, "x");
  });
  const general = outcomeOf(() => tensorFromJson(outputsIn(parseJson(bytes, { maxDepth: 300 })), dtype, "x"));
  return { typed, general, isTyped };
}

describe("random lists of numbers", () => {
  it("are read as JSON.parse reads them", () => {
    const random = new Random(seed);
    for (let round = 0; round < rounds; round++) {
      const shape = randomShape(random);
      const list = nested(random, shape, () => randomNumberText(random));
      const expected = (JSON.parse(list) as unknown[]).flat(9) as number[];
      if (!expected.every(Number.isFinite)) continue;
      for (const dtype of ["float32", "float64"] as const) {
        const { value, tensors } = parseTensorJson(Buffer.from(`{"outputs":${list}}`), () => dtype);
        const read = tensors.get(outputsIn(value));
        const values = dtypes[dtype].array.from(expected);
        // RapidJSON reads a whole -0 as an integer, which has no sign.
        const wanted = values.map((number) => (number === 0 ? 0 : number));
        const got = (read?.values as typeof values | undefined)?.map((number) => (number === 0 ? 0 : number));
        expect({ shape: read?.shape, values: got }, `seed ${seed}, round ${round}: ${list}`).toEqual({ shape, values: wanted });
      }
    }
  });

  it("of every dtype, right and wrong, are read or refused as the general parser does", () => {
    const random = new Random(seed);
    let typedReadings = 0;
    for (let round = 0; round < rounds * 5; round++) {
      const dtype = random.pick(numericDTypes);
      const odd = [
        "NaN",
        "-NaN",
        "Infinity",
        "-Inf",
        "-0",
        "-0.0",
        "null",
        '"a"',
        "[1]",
        "[]",
        "01",
        "1.",
        "-",
        "1e999",
        "tru",
        "18446744073709551615",
      ];
      const usual = dtype === "bool" ? () => random.pick(["true", "false"]) : () => randomNumberText(random);
      const whole = () => String(BigInt(random.below(2 ** 31)) * 2n ** BigInt(random.below(34)) * (random.below(2) === 0 ? 1n : -1n));
      const element = () =>
        random.below(40) === 0 ? random.pick(odd) : dtypes[dtype].kind === "float" || dtype === "bool" ? usual() : whole();
      const text = Buffer.from(`{"outputs": ${nested(random, randomShape(random), element)}, "x": 1}`);
      const { typed, general, isTyped } = bothReadings(text, dtype);
      expect(typed, `seed ${seed}, round ${round}: ${dtype} ${text}`).toEqual(general);
      if (isTyped) typedReadings++;
    }
    // The comparison is one only where the typed reader did the work.
    expect(typedReadings).toBeGreaterThan(rounds);
  });

  it("with changed bytes are read or refused as the general parser does", () => {
    const random = new Random(seed);
    for (let round = 0; round < rounds * 20; round++) {
      const dtype = random.pick(numericDTypes);
      const element =
        dtype === "bool" ? () => "true" : () => (dtypes[dtype].kind === "float" ? randomNumberText(random) : String(random.below(128)));
      const text = Buffer.from(`{"outputs": ${nested(random, randomShape(random), element)}}`);
      const mutated = Buffer.from(text.subarray(0, random.below(4) === 0 ? random.below(text.length) : text.length));
      for (let i = random.below(3); i >= 0 && mutated.length > 0; i--)
        mutated[random.below(mutated.length)] = random.pick([...'0123456789.-+eE[],{}" NaInf']).charCodeAt(0);
      const { typed, general } = bothReadings(mutated, dtype);
      expect(typed, `seed ${seed}, round ${round}: ${dtype} ${mutated.toString("latin1")}`).toEqual(general);
    }
  });
});

describe("random tensors", () => {
  it("are printed so that they read back equal, float32 never longer than what JavaScript prints", () => {
    const random = new Random(seed);
    for (let round = 0; round < rounds; round++) {
      const dtype = random.pick(numericDTypes);
      const shape = randomShape(random);
      const size = shape.reduce((product, dim) => product * dim, 1);
      const { array, bytes, kind } = dtypes[dtype];
      const raw = random.bytes(size * bytes);
      // All NaNs print alike: none of them here.
      const numbers = Array.from({ length: size }, () => randomNumber(random)).map((number) => (Number.isNaN(number) ? 1 : number));
      const values = kind === "float" ? new array(numbers as never) : kind === "bool" ? raw.map((byte) => byte & 1) : new array(raw.buffer);
      const sent = tensor(dtype, shape, values as never) as AnyTensor;
      const text = Buffer.from(new JsonPrinter({ expectedBytes: 0 }).tensor(sent).bytes());
      const what = `seed ${seed}, round ${round}: ${text}`;
      expect(contentOf(tensorFromJson(parseJson(text), dtype, "x")), what).toEqual(contentOf(sent));
      if (kind === "float") {
        const items = text.toString().replace(/[[\]]/g, "").split(",");
        const printed = items.every((item, i) => item.length <= String((sent.values as Float32Array)[i]).length || item === "-0.0");
        expect(printed, what).toBe(true);
      }
    }
  });
});
