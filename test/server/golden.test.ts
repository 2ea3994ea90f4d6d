import { describe, expect, it } from "vitest";
import { runGolden } from "./golden-all.js";
import { runWarmup } from "./golden-servers.js";

describe("the embedded server", () => {
  it("answers the recorded exchanges as the real server did", { timeout: 120_000 }, async () => {
    const outcomes = await runGolden();
    expect(outcomes.filter(({ result }) => result === "failed")).toEqual([]);
    expect(outcomes.filter(({ result }) => result === "passed").length).toBe(1_228);
    // Models whose graphs need TensorFlow's kernels, and two HEAD requests.
    expect(outcomes.filter(({ result }) => result === "not run").length).toBe(160);
  });

  it("takes and refuses the recorded warm-up files as the real server did", { timeout: 60_000 }, async () => {
    const outcomes = await runWarmup();
    expect(outcomes.filter(({ result }) => result !== "passed")).toEqual([]);
    expect(outcomes.length).toBe(27);
  });
});
