import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { ReloadConfigRequest } from "../gen/tensorflow_serving/apis/model_management.js";
import { ModelServerConfig as ModelServerConfigProto } from "../gen/tensorflow_serving/config/model_server_config.js";
import { modelServerConfigFromProto, modelServerConfigToProto } from "../src/config-messages.js";
import type { ModelServerConfig } from "../src/model-server-config.js";

const fixture = (name: string) => new Uint8Array(readFileSync(new URL(`fixtures/protos/${name}.bin`, import.meta.url)));

/** What the fixture `reload_request` asks for. */
const config: ModelServerConfig = {
  models: [
    { name: "a", basePath: "/models/a", modelPlatform: "tensorflow" },
    { name: "b", basePath: "/models/b", modelPlatform: "tensorflow", versionPolicy: "all", versionLabels: { canary: 2n, stable: 1n } },
    { name: "c", basePath: "gs://bucket/c", modelPlatform: "tensorflow", versionPolicy: { specific: [1n, 5n] } },
    { name: "d", basePath: "/models/d", modelPlatform: "tensorflow", versionPolicy: { latest: 3 } },
  ],
};

const sent = (given: ModelServerConfig) =>
  ModelServerConfigProto.decode(ModelServerConfigProto.encode(modelServerConfigToProto(given)).finish());

describe("model server configurations", () => {
  it("are read from a request made by TensorFlow, and written as it wrote them", () => {
    const { config: proto } = ReloadConfigRequest.decode(fixture("reload_request"));
    const read = modelServerConfigFromProto(proto);
    expect(read?.models.map((model) => ({ ...model, ...(model.versionLabels && { versionLabels: { ...model.versionLabels } }) }))).toEqual(
      config.models,
    );
    expect(sent(config)).toEqual(proto);
  });

  it("of no model are an empty list, which is not the same as no list", () => {
    const { config: proto } = ReloadConfigRequest.decode(fixture("reload_request_empty"));
    expect(modelServerConfigFromProto(proto)).toEqual({ models: [] });
    expect(sent({ models: [] })).toEqual(proto);
    expect(modelServerConfigFromProto(ModelServerConfigProto.create())).toBeUndefined();
    expect(modelServerConfigFromProto(undefined)).toBeUndefined();
  });

  it("come back the same with what is rarely set", () => {
    const rare: ModelServerConfig = {
      models: [
        {
          name: "old",
          basePath: "/models/old",
          modelType: "TENSORFLOW",
          versionPolicy: { latest: 0 },
          versionLabels: { ["__proto__"]: 2n ** 63n - 1n, "": 0n },
          loggingConfig: {
            logCollectorConfig: { type: "x", filenamePrefix: "/tmp/x" },
            samplingConfig: undefined,
            customLoggingConfig: undefined,
          },
        },
      ],
    };
    const read = modelServerConfigFromProto(modelServerConfigToProto(rare));
    expect(Object.entries(read?.models[0]?.versionLabels ?? {})).toEqual(Object.entries(rare.models[0]?.versionLabels ?? {}));
    expect({ ...read?.models[0], versionLabels: undefined }).toEqual({ ...rare.models[0], versionLabels: undefined });
  });

  it("refuse a model type that upstream does not have", () => {
    const models = [{ name: "m", basePath: "/m", modelType: "1" }];
    expect(() => modelServerConfigToProto({ models })).toThrow('model "m": expected modelType "TENSORFLOW" or "OTHER", got "1"');
  });
});
