import { describe, expect, it } from "vitest";
import { type SignatureInit, servable } from "../../src/server/index.js";
import { tensor } from "../../src/tensor/tensor.js";

const x = { dtype: "float32", shape: [null, 2] } as const;

describe("servable", () => {
  it("completes signatures and converts defaults", () => {
    const made = servable({
      signatures: { serving_default: { inputs: { x, scale: { dtype: "float64", shape: [], default: 2 } }, outputs: { y: x } } },
      predict: (inputs) => ({ y: inputs.x }),
    });
    const signature = made.signatures["serving_default"];
    expect(signature?.methodName).toBe("tensorflow/serving/predict");
    expect(signature?.inputs["scale"]?.default).toEqual(tensor("float64", [], [2]));
    expect(Object.getPrototypeOf(signature?.inputs)).toBeNull();
  });

  it("types inputs by the dtype of the signature", () => {
    servable({
      signatures: {
        serving_default: { inputs: { ids: { dtype: "int64", shape: [null] } }, outputs: { y: { dtype: "int64", shape: [null] } } },
      },
      predict: ({ ids }) => {
        const values: BigInt64Array = ids.values;
        return { y: tensor("int64", ids.shape, values) };
      },
    });
    servable({
      signatures: { serving_default: { inputs: { x }, outputs: { y: x } } },
      // @ts-expect-error an output has the dtype of the signature
      predict: () => ({ y: tensor("int32", [1, 2], [1, 2]) }),
    });
    servable({
      signatures: { serving_default: { inputs: { x }, outputs: { y: x } } },
      // @ts-expect-error there is no input of this name
      predict: ({ z }) => ({ y: z }),
    });
  });

  describe("rejects", () => {
    const signature = (spec: unknown): Record<string, SignatureInit> => ({
      s: { inputs: { x: spec as SignatureInit["inputs"][string] }, outputs: {} },
    });
    it.each([
      ["an unknown dtype", { dtype: "float", shape: [] }, 'signature "s", input "x": expected a dtype such as "float32", got float'],
      ["a negative size", { dtype: "float32", shape: [-1] }, 'signature "s", input "x": expected shape as a list of sizes'],
      ["a missing shape", { dtype: "float32" }, 'signature "s", input "x": expected shape as a list of sizes'],
    ])("%s", (_title, spec, message) => {
      expect(() => servable({ signatures: signature(spec), predict: () => ({}) })).toThrow(message);
    });

    it("a default that does not fit its dtype", () => {
      expect(() => servable({ signatures: signature({ dtype: "int32", shape: [], default: 1.5 }), predict: () => ({}) })).toThrow("1.5");
    });
  });
});
