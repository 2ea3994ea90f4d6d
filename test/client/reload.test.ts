import { describe, expect, it } from "vitest";
import { PredictionClient } from "../../src/client/prediction-client.js";
import { RpcError, type StatusCode } from "../../src/errors.js";
import type { ModelServerConfig } from "../../src/model-server-config.js";
import { EchoTransport } from "../support/echo-transport.js";

const good = { name: "m", basePath: "/models/m", modelPlatform: "tensorflow" } as const;

function setUp(code?: StatusCode) {
  const transport = new EchoTransport();
  if (code !== undefined) {
    transport.reloadError = new RpcError({ code, method: "reloadConfig", endpoint: "here", transport: "echo", serverMessage: "words" });
  }
  return { transport, client: new PredictionClient(transport) };
}

describe("reloadConfig", () => {
  it.each<[string, ModelServerConfig]>([
    ["no models", { models: [] }],
    ["a model", { models: [good] }],
    [
      "every policy",
      {
        models: [
          { ...good, versionPolicy: "all" },
          { ...good, versionPolicy: { latest: 2 } },
          { ...good, versionPolicy: { specific: [1n] } },
        ],
      },
    ],
    ["labels", { models: [{ ...good, versionLabels: { stable: 1n, "": 2n ** 63n - 1n } }] }],
    ["the deprecated model type alone", { models: [{ name: "m", basePath: "/m", modelType: "TENSORFLOW" }] }],
    ["what the server refuses in words of its own", { models: [{ ...good, basePath: "relative" }, good] }],
  ])("sends %s as it is", async (_title, config) => {
    const { transport, client } = setUp();
    await client.reloadConfig(config);
    expect(transport.reloads).toEqual([config]);
  });

  it("says at the deadline what the server may wait for (trap 29)", async () => {
    const { transport, client } = setUp("DEADLINE_EXCEEDED");
    const models = Array.from({ length: 7 }, (_, index) => ({ ...good, name: `m${index}`, basePath: `/models/${index}` }));
    const error = await client.reloadConfig({ models }).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ name: "RpcError", code: "DEADLINE_EXCEEDED", message: "DEADLINE_EXCEEDED: reloadConfig: words" });
    const { hint = "" } = error as RpcError;
    expect(hint).toContain("(/models/0, /models/1, /models/2, /models/3, /models/4, ...)");
    expect(hint).toContain("an earlier reload");
    expect(hint).toContain("--model_config_file_poll_wait_seconds");
    expect(transport.reloads).toHaveLength(1);
  });

  it.each(["UNAVAILABLE", "INVALID_ARGUMENT"] as const)("passes %s on, and is not sent again", async (code) => {
    const { transport, client } = setUp(code);
    await expect(client.reloadConfig({ models: [good] })).rejects.toBe(transport.reloadError);
    expect(transport.reloads).toHaveLength(1);
  });

  describe("rejects before sending", () => {
    it.each([
      ["no configuration", undefined, "config: expected { models: [...] }, got undefined"],
      ["a list", [good], "config: expected { models: [...] }"],
      ["a model that is none", { models: ["m"] }, 'config.models[0]: expected an object, got "m"'],
      [
        "a model without a name",
        { models: [good, { ...good, name: "" }] },
        'config.models[1]: expected name to be a non-empty string, got ""',
      ],
      [
        "a model without a path",
        { models: [{ ...good, basePath: undefined }] },
        'config: model "m": basePath: expected a string, got undefined',
      ],
      [
        "neither platform nor type (trap 39)",
        { models: [{ name: "m", basePath: "/m" }] },
        "got neither; a server refuses this and then every later reload",
      ],
      ["an empty platform (trap 39)", { models: [{ ...good, modelPlatform: "" }] }, "got neither"],
      ["platform and type (trap 39)", { models: [{ ...good, modelType: "TENSORFLOW" }] }, "got both"],
      [
        "a type that upstream does not have",
        { models: [{ name: "m", basePath: "/m", modelType: "tf" }] },
        'expected modelType "TENSORFLOW" or "OTHER", got "tf"',
      ],
      ["a policy that is none", { models: [{ ...good, versionPolicy: "newest" }] }, 'versionPolicy: expected "all", { latest: n } or'],
      ["two policies in one", { models: [{ ...good, versionPolicy: { latest: 1, specific: [1n] } }] }, "versionPolicy: expected"],
      [
        "a fraction of versions",
        { models: [{ ...good, versionPolicy: { latest: 1.5 } }] },
        "expected latest to be a whole number from 0 to 2^32 - 1, got 1.5",
      ],
      [
        "a version that is none",
        { models: [{ ...good, versionPolicy: { specific: ["1"] } }] },
        'expected a version of 64 bits such as 1n, got "1"',
      ],
      [
        "specific versions that are no list",
        { models: [{ ...good, versionPolicy: { specific: 1n } }] },
        "expected specific to be a list of versions",
      ],
      [
        "a label on a version beyond 63 bits",
        { models: [{ ...good, versionLabels: { x: 2n ** 63n } }] },
        'version label "x": expected a version',
      ],
      [
        "labels that are no record",
        { models: [{ ...good, versionLabels: new Map([["x", 1n]]) }] },
        "expected versionLabels to be an object, got a Map",
      ],
      ["an unknown member", { models: [good], model: [] }, "config.model: unknown option, expected one of models"],
      [
        "an unknown member of a model",
        { models: [good, { ...good, versionLabel: { x: 1n } }] },
        "config.models[1].versionLabel: unknown option, expected one of basePath, loggingConfig, modelPlatform, modelType, name, version",
      ],
      [
        "an unknown policy",
        { models: [{ ...good, versionPolicy: { latest: 1, newest: 2 } }] },
        'config: model "m": versionPolicy.newest: unknown option, expected one of latest, specific',
      ],
      ["logging that is no object", { models: [{ ...good, loggingConfig: "x" }] }, "expected loggingConfig to be an object"],
    ])("%s", async (_title, config, message) => {
      const { transport, client } = setUp();
      await expect(client.reloadConfig(config as ModelServerConfig)).rejects.toThrow(message);
      expect(transport.reloads).toEqual([]);
    });
  });
});
