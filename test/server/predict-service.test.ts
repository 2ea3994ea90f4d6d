import { describe, expect, it } from "vitest";
import { predict } from "../../src/server/predict-service.js";
import { LoadedServable } from "../../src/server/served-model.js";
import { tensor } from "../../src/tensor/tensor.js";
import { halfPlusTwo } from "./golden-models.js";

const manager = {
  resolve: ({ name }: { name: string }) => ({ name, version: 1n, loaded: new LoadedServable(halfPlusTwo), batching: undefined }),
};
const refused = (names: readonly string[]) =>
  predict(
    manager,
    { name: "m" },
    { names, decode: () => tensor("float32", [1], [1]) },
    { outputFilter: [], deadline: Number.POSITIVE_INFINITY },
  ).catch((error: Error) => error.message);

describe("predict", () => {
  it("lists the names of a refused request in the order of their bytes", async () => {
    expect(await refused(["\u{1f600}", "z", "\uff5e", "B", "\u00e9", "x"])).toBe(
      "input size does not match signature: 6!=1 len({B,x,z,\u00e9,\uff5e,\u{1f600}}) != len({x}). " +
        "Sent extra: {B,z,\u00e9,\uff5e,\u{1f600}}. Missing but required: {}.",
    );
  });
});
