import { describe, expect, it } from "vitest";
import { assertVersion, isHigherVersion } from "../../../src/codegen/protos/versions.js";

describe("assertVersion", () => {
  it.each(["2.20.0", "2.21.0-rc1", "10.0.0"])("returns %s", (version) => {
    expect(assertVersion(version, "x")).toBe(version);
  });

  it.each(["", "2.20", "v2.20.0", "2.20.0/../x", "2.20.0 ", "latest"])("rejects %j", (version) => {
    expect(() => assertVersion(version, "--serving")).toThrow(
      new RangeError(`--serving: expected a version such as 2.20.0, got ${JSON.stringify(version)}`),
    );
  });
});

describe("isHigherVersion", () => {
  it.each([
    ["2.21.0", "2.20.0"],
    ["2.10.0", "2.9.9"],
    ["3.0.0", "2.99.0"],
    ["2.20.1", "2.20.0"],
    ["2.20.0", "2.20.0-rc1"],
    ["2.20.0-rc1", "2.20.0-rc0"],
  ])("is true for %s after %s, false the other way", (a, b) => {
    expect([isHigherVersion(a, b), isHigherVersion(b, a), isHigherVersion(a, a)]).toEqual([true, false, false]);
  });
});
