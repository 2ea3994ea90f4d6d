import { describe, expect, it } from "vitest";
import { DataType } from "../../gen/tensorflow/core/framework/types.js";
import { type DType, dtypeFromWire, dtypes, dtypeToWire, isDType } from "../../src/tensor/dtype.js";

const names = Object.keys(dtypes) as DType[];

/** Where our name is not the enum's in lower case. */
const upstreamNames: Partial<Record<DType, string>> = { float32: "DT_FLOAT", float64: "DT_DOUBLE", float16: "DT_HALF" };

describe("dtypes", () => {
  it.each(names)("has the wire number of %s", (name) => {
    const upstream = upstreamNames[name] ?? `DT_${name.toUpperCase()}`;
    expect(DataType[dtypes[name].wire]).toBe(upstream);
  });

  it("leaves out only what the contract gives no tensor", () => {
    const numbers = Object.values(DataType).filter((value): value is DataType => typeof value === "number");
    const missing = numbers.filter((wire) => wire >= 0 && wire < 100 && !isDType(dtypeFromWire(wire)));
    // The last one came with TensorFlow 2.21.0.
    const known = ["DT_INVALID", "DT_RESOURCE", "DT_VARIANT", "DT_INT2", "DT_UINT2", "DT_FLOAT4_E2M1FN"];
    expect(known).toEqual(expect.arrayContaining(missing.map((wire) => DataType[wire])));
  });

  it.each(names.filter((name) => name !== "string"))("gives %s the bytes of its array's elements", (name) => {
    const { array, bytes, kind } = dtypes[name];
    expect(bytes).toBe((array as Uint8ArrayConstructor).BYTES_PER_ELEMENT * (kind === "complex" ? 2 : 1));
  });
});

describe("dtypeFromWire", () => {
  it.each([
    { wire: 1, name: "float32" },
    { wire: 0, name: "invalid" },
    { wire: 20, name: "resource" },
    { wire: 21, name: "variant" },
    { wire: 77, name: "dtype_77" },
    { wire: 101, name: "dtype_101" },
    { wire: -1, name: "dtype_-1" },
  ])("calls $wire $name, and dtypeToWire turns it back", ({ wire, name }) => {
    const dtype = dtypeFromWire(wire);
    expect(dtype).toBe(name);
    expect(dtypeToWire(dtype)).toBe(wire);
  });
});

describe("isDType", () => {
  it.each(["resource", "float", "toString", "__proto__", "", 1, null, undefined])("is false for %s", (name) => {
    expect(isDType(name)).toBe(false);
  });
});
