import { describe, expect, it } from "vitest";
import { runLifecycle } from "./lifecycle-run.js";

const durationMs = 3_000;

describe("models that come, go, fail and move while they are called", () => {
  it.each([1, 2])("are served without a gap, and every call is answered (seed %i)", async (seed) => {
    const { actions, calls, stateChanges, violations } = await runLifecycle({ seed, durationMs });
    expect(violations).toEqual([]);
    expect(actions).toBeGreaterThan(20);
    expect(stateChanges).toBeGreaterThan(20);
    expect(calls["steady OK"]).toBeGreaterThan(20);
    expect(calls["reload OK"]).toBeGreaterThan(0);
  });
});
