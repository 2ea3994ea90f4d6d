import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import * as config from "../src/config/index.js";
import * as example from "../src/example.js";
import * as main from "../src/index.js";
import * as proto from "../src/proto.js";
import * as savedModel from "../src/saved-model/index.js";
import * as server from "../src/server/index.js";
import * as warmup from "../src/warmup/index.js";

const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  exports: Record<string, unknown>;
  dependencies: Record<string, string>;
};

describe("the package", () => {
  it("has these entries", () => {
    expect(Object.keys(manifest.exports)).toEqual([
      ".",
      "./server",
      "./warmup",
      "./config",
      "./saved-model",
      "./example",
      "./proto",
      "./package.json",
    ]);
  });

  it("depends on nothing else at run time", () => {
    expect(Object.keys(manifest.dependencies).sort()).toEqual(["@bufbuild/protobuf", "@grpc/grpc-js", "commander", "long", "undici"]);
  });

  it.each([
    [
      "tfserving",
      main,
      [
        "FormatError",
        "PredictionClient",
        "RpcError",
        "ServingError",
        "SignatureError",
        "Tensor",
        "TensorError",
        "defineModel",
        "isServingError",
        "isTensor",
        "tensor",
        "tensorFrom",
        "toFloat32",
      ],
    ],
    ["tfserving/example", example, ["bytes", "example", "float", "int64", "sequenceExample"]],
    ["tfserving/server", server, ["createInMemoryTransport", "servable", "startModelServer"]],
    [
      "tfserving/warmup",
      warmup,
      [
        "TFRecordWriter",
        "classifyRecord",
        "crc32c",
        "createRecorder",
        "maskedCrc32c",
        "multiInferenceRecord",
        "predictRecord",
        "readRecording",
        "readTFRecords",
        "readWarmupFile",
        "regressRecord",
        "replayRecord",
        "validateWarmupFile",
        "warmupRecordsFrom",
        "writeWarmupFile",
      ],
    ],
    [
      "tfserving/config",
      config,
      [
        "applyModelServerConfig",
        "checkModelServerConfig",
        "diffModelServerConfigs",
        "formatBatchingParameters",
        "formatModelServerConfig",
        "formatMonitoringConfig",
        "formatPlatformConfigMap",
        "formatSSLConfig",
        "parseBatchingParameters",
        "parseModelServerConfig",
        "parseMonitoringConfig",
        "parsePlatformConfigMap",
        "parseSSLConfig",
        "planLabelMove",
      ],
    ],
    ["tfserving/saved-model", savedModel, ["readSavedModel"]],
  ] as const)("exports these names from %s", (_entry, names, expected) => {
    expect(Object.keys(names).sort()).toEqual(expected);
  });

  it("exports the messages of both services from tfserving/proto", () => {
    expect(Object.keys(proto)).toEqual(
      expect.arrayContaining(["PredictRequest", "PredictionServiceClient", "ModelServiceClient", "TensorProto"]),
    );
  });
});
