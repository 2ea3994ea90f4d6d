import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkModelServerConfig, type Finding } from "../../src/config/index.js";
import type { ModelConfig } from "../../src/model-server-config.js";

const good: ModelConfig = { name: "m", basePath: "/models/m", modelPlatform: "tensorflow" };
const check = (...models: Partial<ModelConfig>[]) => checkModelServerConfig({ models: models.map((model) => ({ ...good, ...model })) });
const short = ({ severity, path, message }: Finding) => `${severity} ${path}: ${message}`;

describe("checkModelServerConfig", () => {
  it.each<[string, Partial<ModelConfig>]>([
    ["a plain model", {}],
    ["a URI", { basePath: "gs://bucket/m" }],
    ["every policy", { versionPolicy: { specific: [1n] } }],
    ["the deprecated model type alone", { modelPlatform: "", modelType: "TENSORFLOW" }],
  ])("has nothing to say of %s", (_title, model) => {
    expect(check(model)).toEqual([]);
  });

  it.each<[string, Partial<ModelConfig>, string]>([
    ["no name", { name: "" }, 'error models[0].name: model "": it has no name: the server loads it, and refuses every call'],
    [
      "a relative path",
      { basePath: "m" },
      'error models[0].basePath: model "m": expected an absolute path or a URI, got "m": the server refuses',
    ],
    [
      "no platform",
      { modelPlatform: "" },
      'error models[0].modelPlatform: model "m": expected modelPlatform "tensorflow" or the deprecated modelType, got neither',
    ],
    [
      "platform and type",
      { modelType: "TENSORFLOW" },
      "deprecated modelType, got both: a server does not start with this, and after a reload",
    ],
    ["another platform", { modelPlatform: "onnx" }, 'error models[0].modelPlatform: model "m": expected platform "tensorflow", got "onnx"'],
    [
      "another type",
      { modelPlatform: "", modelType: "OTHER" },
      'error models[0].modelType: model "m": expected platform "tensorflow", got "other"',
    ],
    ["logging", { loggingConfig: {} }, 'error models[0].loggingConfig: model "m": the stock server cannot log requests: it does not start'],
    [
      "no versions",
      { versionPolicy: { specific: [] } },
      'error models[0].versionPolicy: model "m": it names no version: the server unloads the model',
    ],
    ["0 versions", { versionPolicy: { latest: 0 } }, 'warning models[0].versionPolicy: model "m": { latest: 0 } counts as { latest: 1 }'],
  ])("says what a server makes of %s", (_title, model, finding) => {
    expect(check(model).map(short)).toEqual([expect.stringContaining(finding)]);
  });

  it("finds names that are listed twice", () => {
    expect(check({}, { name: "other" }, {}).map(short)).toEqual([
      'error models[2].name: model "m": it is listed twice: the server refuses the configuration ("Illegal to list model m multiple times in config list")',
    ]);
  });

  it("finds labels of versions that the policy does not load", () => {
    const findings = check({ versionPolicy: { specific: [1n, 2n] }, versionLabels: { stable: 1n, canary: 3n } });
    expect(findings.map(({ severity, path }) => [severity, path])).toEqual([
      ["error", "models[0].versionLabels.canary"],
      ["warning", "models[0].versionLabels"],
    ]);
    expect(findings[0]?.message).toContain("version 3 is not loaded, but 1, 2: the server refuses the label");
    expect(findings[1]?.message).toContain(
      "a server does not start with labels unless it has --allow_version_labels_for_unavailable_models",
    );
  });

  it("checks many labels and versions in bounded time", () => {
    const versions = Array.from({ length: 20_000 }, (_, index) => BigInt(index));
    const labels = Object.fromEntries(versions.map((version) => [`label${version}`, version + 20_000n]));
    const findings = check({ versionPolicy: { specific: versions }, versionLabels: labels });
    expect(findings).toHaveLength(20_001);
    expect(findings[0]?.message).toContain("version 20000 is not loaded, but 0, 1, 2, 3, 4, ...: ");
  });

  it("warns of labels on versions that newer ones replace", () => {
    const [, moving] = check({ versionLabels: { stable: 1n } });
    expect(moving).toMatchObject({ severity: "warning", path: "models[0].versionLabels" });
    expect(moving?.message).toContain("labels stay where they are when newer versions replace these");
    expect(check({ versionPolicy: "all", versionLabels: { stable: 1n } })).toHaveLength(1);
  });

  describe("with readDisk", () => {
    let root: string;
    beforeAll(() => {
      root = mkdtempSync(join(tmpdir(), "tfserving-check-"));
      for (const folder of ["m/1", "m/00002", "m/tmp-4", "empty/new"]) mkdirSync(join(root, folder), { recursive: true });
      writeFileSync(join(root, "m/3"), "");
    });
    afterAll(() => rmSync(root, { recursive: true }));
    const onDisk = (folder: string, model: Partial<ModelConfig> = {}) =>
      checkModelServerConfig({ models: [{ ...good, basePath: join(root, folder), ...model }] }, { readDisk: true })
        .filter(({ path }) => path !== "models[0].versionLabels")
        .map((finding) => short(finding).replaceAll(root, ""));

    it("has nothing to say of versions that are there", () => {
      expect(onDisk("m", { versionPolicy: { specific: [1n, 2n] }, versionLabels: { stable: 1n, canary: 2n } })).toEqual([]);
    });

    it("finds versions that are not, and labels on them", () => {
      expect(onDisk("m", { versionPolicy: { specific: [2n, 4n] }, versionLabels: { canary: 4n } })).toEqual([
        'error models[0].versionPolicy: model "m": version 4 is not in /m: the server skips it',
        expect.stringContaining('error models[0].versionLabels.canary: model "m": version 4 is not loaded, but 2: the server refuses'),
      ]);
    });

    it("finds labels on versions that the policy leaves out", () => {
      const policy = { versionPolicy: { latest: 2 }, versionLabels: { old: 1n } };
      expect(onDisk("m", policy)).toEqual([
        'error models[0].basePath: model "m": /m/3 is no folder: version 3 fails to load',
        expect.stringContaining('error models[0].versionLabels.old: model "m": version 1 is not loaded, but 3, 2'),
      ]);
    });

    it("finds a base path without versions", () => {
      expect(onDisk("empty")).toEqual([expect.stringContaining('error models[0].basePath: model "m": /empty holds no version')]);
    });

    it("warns of a base path that cannot be read here, and looks at no URI", () => {
      expect(onDisk("missing", { versionPolicy: { specific: [1n] } })).toEqual([
        expect.stringMatching(/^warning models\[0\]\.basePath: model "m": its versions are not known, .*ENOENT.* never ends$/),
      ]);
      expect(onDisk("", { basePath: "gs://bucket/m" })).toEqual([]);
    });
  });

  describe("rejects", () => {
    it("what is no configuration, and options it does not know", () => {
      expect(() => checkModelServerConfig({ models: [1 as never] })).toThrow("config.models[0]: expected an object, got 1");
      expect(() => checkModelServerConfig({ models: [] }, { disk: true } as never)).toThrow("disk: unknown option");
    });
  });
});
