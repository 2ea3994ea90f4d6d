import { describe, expect, it } from "vitest";
import { assertModelDefinition, defineModel, isModelDefinition } from "../../src/client/model-definition.js";
import { tensor } from "../../src/tensor/tensor.js";

/** Data as a caller without a compiler may write it. */
const loose = (data: unknown) => () => defineModel(data as { name: string; signatures: Record<string, never> });
const withInput = (x: unknown) => ({ name: "m", signatures: { s: { inputs: { x }, outputs: {} } } });

describe("defineModel", () => {
  it("answers the same data, frozen", () => {
    const data = withInput({ dtype: "float32", shape: [null, 2], default: [[1, 2]] } as const) as { name: string; signatures: object };
    const model = defineModel(data as never) as unknown as typeof data;
    expect(model).toBe(data);
    const input = (data as ReturnType<typeof withInput>).signatures.s.inputs.x as { shape: unknown; default: unknown[] };
    for (const part of [data, data.signatures, input, input.shape, input.default, input.default[0]]) {
      expect(Object.isFrozen(part)).toBe(true);
    }
  });

  it("leaves tensors and typed arrays as they are", () => {
    const values = new Float32Array([1, 2]);
    const z = tensor("complex64", [1], values);
    const model = defineModel({
      name: "m",
      signatures: {
        s: {
          inputs: { z: { dtype: "complex64", shape: [null], default: z }, x: { dtype: "float32", shape: [2], default: values } },
          outputs: {},
        },
      },
    });
    expect(model.signatures.s.inputs.z.default).toBe(z);
    expect(Object.isFrozen(values)).toBe(false);
  });

  it.each([
    { dtype: "float32", shape: null },
    { dtype: "int64", shape: [], default: 3n },
    { dtype: "int64", shape: [null], default: [1, 2] },
    { dtype: "string", shape: [], default: "en" },
    { dtype: "string", shape: [], default: Uint8Array.of(0xff) },
    { dtype: "bool", shape: [], default: false },
    { dtype: "qint8", shape: [], optional: true },
    { dtype: "resource", shape: [] },
    { dtype: "dtype_77", shape: [0, null] },
  ])("takes the input %o", (input) => {
    expect(loose(withInput(input))).not.toThrow();
  });

  it("takes names that mean something to JavaScript", () => {
    const spec = { dtype: "float32", shape: [] } as const;
    const model = defineModel({
      name: "m",
      signatures: { ["__proto__"]: { inputs: { ["__proto__"]: spec, constructor: spec, "input:0": spec }, outputs: { toString: spec } } },
    });
    expect(Object.keys(model.signatures)).toEqual(["__proto__"]);
    expect(Object.keys(Object.values(model.signatures)[0]?.inputs ?? {})).toEqual(["__proto__", "constructor", "input:0"]);
  });
});

describe("rejects", () => {
  it.each<[string, unknown, string]>([
    ["nothing", undefined, "model: expected a name or"],
    ["no name", { signatures: {} }, "model: expected a name or"],
    ["version and label", { name: "m", version: 1, versionLabel: "a", signatures: {} }, "version and versionLabel exclude each other"],
    ["a signature name", { name: "m", signatureName: "s", signatures: {} }, 'model "m": signatureName goes into the options'],
    ["no signatures", { name: "m" }, 'model "m": signatures: expected a plain object, got undefined'],
    ["signatures in a list", { name: "m", signatures: [] }, 'model "m": signatures: expected a plain object, got a list of 0'],
    ["no signature", { name: "m", signatures: { s: null } }, 'model "m": signature "s": expected a plain object, got null'],
    ["no inputs", { name: "m", signatures: { s: { outputs: {} } } }, 'model "m": signature "s": inputs: expected a plain object'],
    ["no outputs", { name: "m", signatures: { s: { inputs: {} } } }, 'model "m": signature "s": outputs: expected a plain object'],
    [
      "a method name that is no string",
      { name: "m", signatures: { s: { methodName: 1, inputs: {}, outputs: {} } } },
      'model "m": signature "s": methodName: expected a string, got 1',
    ],
    [
      "an output without a dtype",
      { name: "m", signatures: { s: { inputs: {}, outputs: { "y:0": { shape: [] } } } } },
      'model "m": signature "s", output "y:0": dtype: expected one such as "float32", got undefined',
    ],
    ["no such dtype", withInput({ dtype: "float", shape: [] }), 'input "x": dtype: expected one such as "float32", got "float"'],
    ["a dtype that has a name", withInput({ dtype: "dtype_1", shape: [] }), 'dtype: expected one such as "float32", got "dtype_1"'],
    ["no shape", withInput({ dtype: "int8" }), 'model "m": signature "s", input "x": shape: expected a list of sizes'],
    ["a size below zero", withInput({ dtype: "int8", shape: [-1] }), 'input "x": shape: expected a list of sizes'],
    [
      "optional: false",
      withInput({ dtype: "int8", shape: [], optional: false }),
      'input "x": optional: expected true or nothing, got false',
    ],
    ["a default of another dtype", withInput({ dtype: "int8", shape: [], default: 0.5 }), 'input "x": default: expected'],
    ["a default of another shape", withInput({ dtype: "int8", shape: [2], default: [1] }), "default: expected int8 [2], got int8 [1]"],
    ["a tensor of another dtype", withInput({ dtype: "int8", shape: [], default: tensor("int16", [], [1]) }), "got int16 []"],
    ["a default for a resource", withInput({ dtype: "resource", shape: [], default: 1 }), 'input "x": default: expected'],
    [
      "an input that vanished into the prototype",
      { name: "m", signatures: { s: { inputs: { __proto__: { dtype: "int8" } }, outputs: {} } } },
      'has to be written ["__proto__"]',
    ],
  ])("%s", (_title, data, message) => {
    expect(loose(data)).toThrow(TypeError);
    expect(loose(data)).toThrow(message);
  });

  it("a version out of range, as a spec does", () => {
    expect(loose({ name: "m", version: -1, signatures: {} })).toThrow(RangeError);
  });
});

describe("isModelDefinition", () => {
  it("tells definitions from names and specs", () => {
    expect(isModelDefinition({ name: "m", signatures: {} })).toBe(true);
    expect(isModelDefinition({ name: "m" })).toBe(false);
    expect(isModelDefinition("m")).toBe(false);
  });
});

describe("assertModelDefinition", () => {
  it("does not freeze what it checks", () => {
    const data = { name: "m", signatures: {} };
    assertModelDefinition(data);
    expect(Object.isFrozen(data)).toBe(false);
  });
});
