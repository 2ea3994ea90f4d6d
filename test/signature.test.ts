import { describe, expect, it } from "vitest";
import { SignatureError } from "../src/errors.js";
import {
  assertInputsFit,
  type InputValue,
  inputsFromPlain,
  type Signature,
  soleInputName,
  type TensorSpec,
  tensorFromPlain,
} from "../src/signature.js";
import { bfloat16FromNumber, float16FromNumber } from "../src/tensor/float16.js";
import { tensor } from "../src/tensor/tensor.js";

const signature: Signature = {
  methodName: "tensorflow/serving/predict",
  inputs: {
    x: { dtype: "float32", shape: [null, 3] },
    k: { dtype: "int64", shape: [] },
    scale: { dtype: "float32", shape: [], default: tensor("float32", [], [1]) },
  },
  outputs: { y: { dtype: "float32", shape: [null] } },
};

const spec = (dtype: TensorSpec["dtype"]): TensorSpec => ({ dtype, shape: null });

describe("assertInputsFit", () => {
  it("accepts inputs that fit, without those that have a default", () => {
    expect(() =>
      assertInputsFit(signature, { x: tensor("float32", [2, 3], new Float32Array(6)), k: tensor("int64", [], [1n]) }, "predict m"),
    ).not.toThrow();
  });

  it("lists every difference at once", () => {
    const inputs = { x: tensor("int32", [4, 2], new Int32Array(8)), z: tensor("bool", [], [true]) };
    let caught: unknown;
    try {
      assertInputsFit(signature, inputs, "predict m");
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(SignatureError);
    expect((caught as SignatureError).differences).toEqual([
      'input "z" is not in the signature, whose inputs are "x", "k", "scale"',
      'input "k" is missing: expected int64 []; the signature\'s inputs are "x", "k", "scale"',
      'input "x": expected float32 [?, 3], got int32 [4, 2]',
    ]);
  });

  it("finds no inherited names", () => {
    const inputs = { constructor: tensor("bool", [], [true]) };
    expect(() => assertInputsFit({ ...signature, inputs: {} }, inputs, "predict m")).toThrow('input "constructor" is not in the signature');
  });
});

describe("tensorFromPlain", () => {
  const converted: [TensorSpec["dtype"], InputValue, readonly number[], unknown][] = [
    ["float32", 0.1, [], new Float32Array([0.1])],
    ["float64", [0.1, 2], [2], new Float64Array([0.1, 2])],
    ["float16", [1.5], [1], new Uint16Array([float16FromNumber(1.5)])],
    ["bfloat16", [[1.5]], [1, 1], new Uint16Array([bfloat16FromNumber(1.5)])],
    ["int32", [[1], [-2]], [2, 1], new Int32Array([1, -2])],
    ["int32", 7n, [], new Int32Array([7])],
    ["int4", [-8, 7], [2], new Int8Array([-8, 7])],
    ["int64", [1, 2n ** 62n], [2], new BigInt64Array([1n, 2n ** 62n])],
    ["uint64", 2n ** 64n - 1n, [], new BigUint64Array([2n ** 64n - 1n])],
    ["bool", [true, false], [2], new Uint8Array([1, 0])],
    ["string", "é", [], [new TextEncoder().encode("é")]],
    ["string", new Uint8Array([255]), [], [new Uint8Array([255])]],
    ["string", ["a", new Uint8Array([0])], [2], [new Uint8Array([97]), new Uint8Array([0])]],
    ["uint8", new Uint8Array([1, 2]), [2], new Uint8Array([1, 2])],
    ["int32", new Int8Array([-1]), [1], new Int32Array([-1])],
    ["int64", new Uint8Array([200]), [1], new BigInt64Array([200n])],
    ["float32", new Float64Array([0.5]), [1], new Float32Array([0.5])],
    ["float32", [new Float32Array([1, 2]), new Float64Array([3, 4])], [2, 2], new Float32Array([1, 2, 3, 4])],
    ["float32", [new Float32Array([1, 2]), [3, 4]], [2, 2], new Float32Array([1, 2, 3, 4])],
    ["uint8", Buffer.from([3]), [1], Buffer.from([3])],
    ["float32", [], [0], new Float32Array(0)],
    ["float32", [[], []], [2, 0], new Float32Array(0)],
  ];
  it.each(converted)("makes %s of %o", (dtype, value, shape, values) => {
    const made = tensorFromPlain(value, spec(dtype), "input");
    expect(made.dtype).toBe(dtype);
    expect(made.shape).toEqual(shape);
    expect(made.values).toEqual(values);
  });

  it("does not copy a typed array of the same dtype", () => {
    const values = new Float32Array([1]);
    expect(tensorFromPlain(values, spec("float32"), "input").values).toBe(values);
  });

  describe("rejects", () => {
    const refused: [TensorSpec["dtype"], InputValue, RegExp][] = [
      ["int32", 1.5, /expected int32, got 1.5/],
      ["int32", [[1], [2 ** 31]], /got 2147483648 at \[1, 0\]/],
      ["uint8", -1, /got -1/],
      ["int4", 8, /got 8/],
      ["int64", 2 ** 53, /got 9007199254740992/],
      ["uint64", -1n, /got -1n/],
      ["float32", 1n, /got 1n/],
      ["float32", true, /got true/],
      ["float32", "1", /got the string "1"/],
      ["bool", 1, /expected bool, got 1/],
      ["string", 1, /expected string, got 1/],
      ["float64", new Float32Array(1), /expected float64, got Float32Array/],
      ["int8", new Int16Array(1), /got Int16Array/],
      ["uint32", new Int8Array(1), /got Int8Array/],
      ["float16", new Uint16Array(1), /got Uint16Array/],
      ["string", new Float32Array(1), /got Float32Array/],
      ["float32", [[1, 2], [3]], /list of 2 as in the first row, got one of 1 at \[1\]/],
      ["float32", [1, [2]], /got a list of 1 at \[1\]/],
      ["float32", [[1], 2], /list of 1, got 2 at \[1\]/],
      ["float32", [new Float32Array(2), new Float32Array(3)], /row of 2 as in the first one, got one of 3 at \[1\]/],
      ["complex64", 1, /takes only a Tensor/],
      ["qint8", 1, /takes only a Tensor/],
      ["resource", 1, /no value can be converted/],
      ["float32", null as unknown as InputValue, /got null/],
      ["float32", { a: 1 } as unknown as InputValue, /got object/],
    ];
    it.each(refused)("%s from %o", (dtype, value, message) => {
      expect(() => tensorFromPlain(value, spec(dtype), "input")).toThrow(SignatureError);
      expect(() => tensorFromPlain(value, spec(dtype), "input")).toThrow(message);
    });

    it("endless nesting", () => {
      const endless: InputValue[] = [];
      endless.push(endless as unknown as InputValue);
      expect(() => tensorFromPlain(endless as InputValue, spec("float32"), "input")).toThrow(/more than 254 deep/);
    });
  });
});

describe("inputsFromPlain", () => {
  it("converts each input to its own dtype", () => {
    const inputs = inputsFromPlain(signature, { x: [[1, 2, 3]], k: 4 }, "predict m", { check: true });
    expect(inputs.x?.dtype).toBe("float32");
    expect(inputs.k?.values).toEqual(new BigInt64Array([4n]));
  });

  it("says how to add a missing batch dimension", () => {
    expect(() => inputsFromPlain(signature, { x: [1, 2, 3], k: 1 }, "predict m", { check: true })).toThrow(
      'INVALID_ARGUMENT: predict m: input "x": [3] given, [?, 3] expected: wrap it as [x]',
    );
  });

  it("leaves names and shapes to the server without check, but not conversion", () => {
    const inputs = inputsFromPlain(signature, { x: [1, 2] }, "predict m", { check: false });
    expect(inputs.x?.shape).toEqual([2]);
    expect(() => inputsFromPlain(signature, { x: "a", z: 1 }, "predict m", { check: false })).toThrow(/input "x": .*; input "z" is not in/);
  });
});

describe("soleInputName", () => {
  const x: TensorSpec = { dtype: "float32", shape: [] };
  const scale: TensorSpec = { ...x, default: tensor("float32", [], [1]) };
  it("is the only input, or the only one without default", () => {
    expect(soleInputName({ ...signature, inputs: { x } }, "predict m")).toBe("x");
    expect(soleInputName({ ...signature, inputs: { scale, x } }, "predict m")).toBe("x");
    expect(soleInputName({ ...signature, inputs: { scale } }, "predict m")).toBe("scale");
  });
  it("rejects several inputs, naming them", () => {
    expect(() => soleInputName(signature, "predict m")).toThrow(/this one has "x", "k", "scale"/);
    expect(() => soleInputName({ ...signature, inputs: {} }, "predict m")).toThrow(/this one has \(none\)/);
  });
});
