import { describe, expect, it } from "vitest";
import { type ConfigChange, diffModelServerConfigs, planLabelMove } from "../../src/config/index.js";
import type { ModelConfig, VersionPolicy } from "../../src/model-server-config.js";

const good: ModelConfig = { name: "m", basePath: "/models/m", modelPlatform: "tensorflow" };
const config = (...models: Partial<ModelConfig>[]) => ({ models: models.map((model) => ({ ...good, ...model })) });
const words = (changes: readonly ConfigChange[]) => changes.map(({ message }) => message);

describe("diffModelServerConfigs", () => {
  it("finds nothing between configurations that say the same", () => {
    const labelled = { versionPolicy: { specific: [1n, 2n] }, versionLabels: { stable: 1n } };
    expect(diffModelServerConfigs(config(labelled), config({ ...labelled, versionPolicy: { specific: [2n, 1n] } }))).toEqual([]);
    expect(diffModelServerConfigs(config({}), config({ versionPolicy: { latest: 1 } }))).toEqual([]);
    expect(diffModelServerConfigs(config({}), config({ versionPolicy: { latest: 0 } }))).toEqual([]);
    expect(diffModelServerConfigs(config({}), config({ modelPlatform: "", modelType: "TENSORFLOW" }))).toEqual([]);
  });

  it("tells models that load and unload", () => {
    const changes = diffModelServerConfigs(
      config({ name: "old", versionPolicy: "all", versionLabels: { a: 1n } }, {}),
      config({}, { name: "new", versionPolicy: { specific: [1n, 2n] }, versionLabels: { stable: 1n } }),
    );
    expect(changes).toEqual([
      { kind: "load-model", model: "new", versionPolicy: { specific: [1n, 2n] }, message: 'load model "new", versions 1, 2' },
      { kind: "set-label", model: "new", label: "stable", to: 1n, message: 'set label "stable" of model "new" on version 1' },
      { kind: "unload-model", model: "old", versionPolicy: "all", message: 'unload model "old", all versions' },
    ]);
  });

  it("tells versions that load and unload, and labels that move", () => {
    const changes = diffModelServerConfigs(
      config({ versionPolicy: { specific: [1n, 2n] }, versionLabels: { stable: 1n, old: 1n } }),
      config({ versionPolicy: { specific: [2n, 3n] }, versionLabels: { stable: 2n, canary: 3n } }),
    );
    expect(changes.map(({ message: _message, ...change }) => change)).toEqual([
      { kind: "load-version", model: "m", version: 3n },
      { kind: "unload-version", model: "m", version: 1n },
      { kind: "move-label", model: "m", label: "stable", from: 1n, to: 2n },
      { kind: "set-label", model: "m", label: "canary", to: 3n },
      { kind: "remove-label", model: "m", label: "old", from: 1n },
    ]);
    expect(words(changes)).toContain('move label "stable" of model "m" from version 1 to 2');
  });

  it.each<[VersionPolicy, VersionPolicy, boolean]>([
    [{ latest: 1 }, { latest: 2 }, false],
    [{ latest: 1 }, "all", false],
    [{ specific: [1n] }, "all", false],
    [{ latest: 2 }, { latest: 1 }, true],
    ["all", { latest: 2 }, true],
    [{ specific: [1n] }, { latest: 1 }, true],
    [{ latest: 1 }, { specific: [1n] }, true],
  ])("from %o to %o is a change that may unload versions: %s", (from, to, mayUnload) => {
    const changes = diffModelServerConfigs(config({ versionPolicy: from }), config({ versionPolicy: to }));
    expect(changes).toMatchObject([{ kind: "change-policy", model: "m", from, to, mayUnload }]);
  });

  it("tells other settings", () => {
    const other = { basePath: "/other", modelPlatform: "x", loggingConfig: {} };
    expect(words(diffModelServerConfigs(config({}), config(other)))).toEqual([
      'look for versions of model "m" in /other instead of /models/m',
      'change the platform of model "m" from "tensorflow" to "x"',
      'change the logging of model "m"',
    ]);
  });

  it("compares long lists of versions in bounded time", () => {
    const list = (from: number) =>
      config({ versionPolicy: { specific: Array.from({ length: 50_000 }, (_, index) => BigInt(from + index)) } });
    expect(diffModelServerConfigs(list(0), list(40_000))).toHaveLength(80_000);
  });

  it("rejects what is no configuration, and members it does not know", () => {
    expect(() => diffModelServerConfigs(config({ version_policy: "all" } as never), config())).toThrow(
      "config.models[0].version_policy: unknown option",
    );
    expect(() => diffModelServerConfigs(undefined as never, config())).toThrow("config: expected { models: [...] }, got undefined");
  });
});

describe("planLabelMove", () => {
  const current = config({ name: "other" }, { versionPolicy: { specific: [1n] }, versionLabels: { stable: 1n, ["__proto__"]: 1n } });

  it("loads the version beside the others, then moves the label", () => {
    const { load, move } = planLabelMove(current, "m", "stable", 2);
    expect(words(diffModelServerConfigs(current, load))).toEqual(['load version 2 of model "m"']);
    expect(words(diffModelServerConfigs(load, move))).toEqual(['move label "stable" of model "m" from version 1 to 2']);
  });

  it("has nothing to load where the version is served", () => {
    const all = config({ versionPolicy: "all" });
    expect(planLabelMove(all, "m", "new", 7n).load).toEqual(all);
    expect(planLabelMove(current, "m", "new", 1n).load).toEqual(current);
    expect(planLabelMove(all, "m", "new", 7n).move.models[0]?.versionLabels).toEqual({ new: 7n });
  });

  describe("rejects", () => {
    const newest = config({ versionPolicy: { latest: 2 } });
    it.each<[string, Parameters<typeof planLabelMove>, string]>([
      ["an unknown model", [current, "x", "stable", 2], 'expected the name of a model in the configuration ("other", "m"), got "x"'],
      [
        "versions that the configuration does not say",
        [current, "other", "stable", 2],
        'model "other": expected versionPolicy { specific: [...] } or "all", got none: ask getModelStatus which versions are AVAILABLE',
      ],
      ["the newest versions, whichever they are", [newest, "m", "stable", 2], "got { latest: n }: ask getModelStatus"],
      ["a label that is none", [current, "m", 1 as never, 2], "expected a label, got 1"],
      ["a version beyond 63 bits", [current, "m", "stable", 2n ** 63n], "expected version to be a whole number from 0 to 2^63 - 1, got 92"],
      ["a fraction", [current, "m", "stable", 1.5], "expected version to be a whole number from 0 to 2^63 - 1, got 1.5"],
      ["a negative version", [current, "m", "stable", -1], "got -1"],
      ["a version that is text", [current, "m", "stable", "2" as never], 'got "2"'],
      ["no version", [current, "m", "stable", undefined as never], "got undefined"],
    ])("%s", (_title, args, message) => {
      expect(() => planLabelMove(...args)).toThrow(message);
    });
  });
});
