import { Client, credentials } from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import { GetModelStatusRequest, GetModelStatusResponse } from "../../gen/tensorflow_serving/apis/get_model_status.js";
import { ServingError } from "../../src/errors.js";
import { statusesFromProto } from "../../src/messages.js";
import { createInMemoryTransport, startModelServer } from "../../src/server/index.js";
import { tensor } from "../../src/tensor/tensor.js";
import type { ModelVersionState } from "../../src/transport/transport.js";
import { halfPlusTwo } from "./golden-models.js";
import { rawGrpc } from "./raw-grpc.js";

const x = tensor("float32", [1], [1]);
const soon = () => ({ deadline: performance.now() + 5_000 });
const failed = new ServingError("Read less bytes than requested", { code: "OUT_OF_RANGE" });

describe("setVersionState", () => {
  it("shows in GetModelStatus over gRPC and REST, versions in different states and errors included", async () => {
    const server = await startModelServer({ models: { m: { 1: halfPlusTwo, 2: halfPlusTwo } } });
    server.setVersionState("m", 2n, "UNLOADING");
    server.setVersionState("m", 3, "START");
    server.setVersionState("m", 4, "LOADING");
    server.setVersionState("m", 5, "END", failed);
    const client = new Client(server.grpcTarget, credentials.createInsecure());
    const bytes = GetModelStatusRequest.encode(GetModelStatusRequest.create({ modelSpec: { name: "m" } })).finish();
    const answer = await rawGrpc(client, "/tensorflow.serving.ModelService/GetModelStatus", bytes);
    const ok = { errorCode: "OK", errorMessage: "" };
    expect(statusesFromProto(GetModelStatusResponse.decode(answer.bytes ?? new Uint8Array()))).toEqual([
      { version: 5n, state: "END", errorCode: "OUT_OF_RANGE", errorMessage: "Read less bytes than requested" },
      { version: 4n, state: "LOADING", ...ok },
      { version: 3n, state: "START", ...ok },
      { version: 2n, state: "UNLOADING", ...ok },
      { version: 1n, state: "AVAILABLE", ...ok },
    ]);
    const one = await fetch(`${server.restTarget}/v1/models/m/versions/5`);
    expect(await one.json()).toEqual({
      model_version_status: [
        { version: "5", state: "END", status: { error_code: "OUT_OF_RANGE", error_message: "Read less bytes than requested" } },
      ],
    });
    client.close();
    await server.close();
  });

  it.each<ModelVersionState>(["UNKNOWN", "START", "LOADING", "UNLOADING", "END"])("takes a version in %s out of service", async (state) => {
    const transport = createInMemoryTransport({ m: { 1: halfPlusTwo, 2: halfPlusTwo } }, { versionLabels: { m: { new: 2 } } });
    transport.setVersionState("m", 2, state);
    expect((await transport.predict({ name: "m" }, { x }, soon())).modelSpec.version).toBe(1n);
    for (const spec of [{ version: 2 }, { versionLabel: "new" }]) {
      await expect(transport.predict({ name: "m", ...spec }, { x }, soon())).rejects.toMatchObject({
        code: "NOT_FOUND",
        serverMessage: "Servable not found for request: Specific(m, 2)",
      });
    }
    transport.setVersionState("m", 1, "END");
    await expect(transport.getModelMetadata({ name: "m" }, soon())).rejects.toMatchObject({
      serverMessage: "Servable not found for request: Latest(m)",
    });
    transport.setVersionState("m", 2, "AVAILABLE");
    expect((await transport.predict({ name: "m" }, { x }, soon())).modelSpec.version).toBe(2n);
  });

  it("makes models known that are not there yet", async () => {
    const transport = createInMemoryTransport({});
    await expect(transport.getModelStatus({ name: "m" }, soon())).rejects.toMatchObject({
      serverMessage: "Could not find any versions of model m",
    });
    transport.setVersionState("m", 1, "LOADING");
    expect(await transport.getModelStatus({ name: "m" }, soon())).toMatchObject([{ version: 1n, state: "LOADING" }]);
  });

  it("survives a reload that still lists the version", async () => {
    const transport = createInMemoryTransport({ m: { 1: halfPlusTwo } });
    transport.setVersionState("m", 1, "END", failed);
    await transport.reloadConfig({ models: [{ name: "m", basePath: "/models/m", modelPlatform: "tensorflow" }] }, soon());
    expect(await transport.getModelStatus({ name: "m" }, soon())).toMatchObject([{ state: "END", errorCode: "OUT_OF_RANGE" }]);
  });

  describe("rejects", () => {
    const { setVersionState } = createInMemoryTransport({ m: halfPlusTwo });
    it.each<[string, unknown[], string]>([
      [
        "an available version without a servable",
        ["m", 2, "AVAILABLE"],
        'version 2 of model "m" has no servable, so it cannot be AVAILABLE',
      ],
      ["an unknown state", ["m", 1, "GONE"], 'expected a state such as "LOADING", got "GONE"'],
      ["a fraction as version", ["m", 1.5, "END"], "expected a version from 0 to 2^63 - 1, got 1.5"],
      ["a negative version", ["m", -1, "END"], "expected a version from 0 to 2^63 - 1, got -1"],
      ["an empty name", ["", 1, "END"], "expected a model name that is not empty"],
    ])("%s", (_title, args, message) => {
      expect(() => setVersionState(...(args as Parameters<typeof setVersionState>))).toThrow(message);
    });
  });
});
