import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { halfPlusTwo } from "../../scripts/demo-models.js";
import { PredictionClient } from "../../src/client/prediction-client.js";
import { applyByClock } from "../../src/config/apply.js";
import { type ApplyOptions, type ConfigClient, planLabelMove } from "../../src/config/index.js";
import { ServingError } from "../../src/errors.js";
import type { ModelConfig, ModelServerConfig } from "../../src/model-server-config.js";
import { type ModelServer, startModelServer } from "../../src/server/index.js";
import { clockWithoutWaits } from "./clock-without-waits.js";

const root = mkdtempSync(join(tmpdir(), "tfserving-apply-"));
let server: ModelServer;
let client: PredictionClient;
let broken: boolean;
beforeAll(async () => {
  for (const folder of ["a/1", "a/2", "a/3", "b/1", "fails/1"]) mkdirSync(join(root, folder), { recursive: true });
  server = await startModelServer({
    // Reloads apply at once; apply-late.test.ts has servers that take their time.
    fileSystemPollMs: 0,
    loadServable: (_folder, { name }) => {
      if (name === "fails" && broken) throw new ServingError("out of range", { code: "OUT_OF_RANGE" });
      return halfPlusTwo;
    },
  });
  client = new PredictionClient(server.grpcTarget);
});
afterAll(async () => {
  await client.close();
  await server.close();
  rmSync(root, { recursive: true });
});

const model = (name: string, more: Partial<ModelConfig> = {}): ModelConfig => ({
  name,
  basePath: join(root, name),
  modelPlatform: "tensorflow",
  ...more,
});
const serving = (name: string, ...versions: bigint[]) => model(name, { versionPolicy: { specific: versions } });
const config = (...models: ModelConfig[]): ModelServerConfig => ({ models });
const reloads = () => server.requests.filter(({ method }) => method === "reloadConfig").length;
const available = async (name: string) =>
  (await client.getModelStatus(name)).filter(({ state }) => state === "AVAILABLE").map(({ version }) => version);
const start = (initial: ModelServerConfig) => client.reloadConfig(initial);
/** In no time where the server has nothing to do. */
const apply = (options: ApplyOptions, to: ConfigClient = client) => applyByClock(to, options, clockWithoutWaits());

describe("applyModelServerConfig", () => {
  it("waits until every model and version is served, and tells which", async () => {
    await start(config(serving("a", 1n)));
    const to = config(serving("a", 1n, 2n), model("b"));
    const applied = await apply({ from: config(serving("a", 1n)), to });
    expect(applied).toMatchObject({
      applied: true,
      changes: [
        { kind: "load-version", model: "a", version: 2n },
        { kind: "load-model", model: "b" },
      ],
      available: [
        { model: "a", version: 1n },
        { model: "a", version: 2n },
        { model: "b", version: 1n },
      ],
    });
    expect(await available("a")).toEqual([2n, 1n]);
  });

  it("moves a label by the two steps of a plan", async () => {
    const from = config(model("a", { versionPolicy: { specific: [1n] }, versionLabels: { stable: 1n } }));
    await start(config(serving("a", 1n)));
    await start(from);
    const { load, move } = planLabelMove(from, "a", "stable", 2n);
    await apply({ from, to: load });
    await apply({ from: load, to: move });
    const { modelSpec } = await client.predict({ name: "a", versionLabel: "stable" }, { x: [1] });
    expect(modelSpec.version).toBe(2n);
  });

  it("only tells what would change in a dry run", async () => {
    const before = server.requests.length;
    const plan = await apply({ from: config(model("b")), to: config(), dryRun: true });
    expect(plan).toMatchObject({ applied: false, changes: [{ kind: "unload-model", model: "b" }], available: [] });
    expect(server.requests.length).toBe(before);
  });

  it.each<[string, ModelConfig[], ModelConfig[], string]>([
    ["models", [serving("a", 1n), model("b")], [serving("a", 1n)], 'unload model "b", the newest version'],
    ["versions", [serving("a", 1n, 2n)], [serving("a", 2n)], 'unload version 1 of model "a"'],
    [
      "versions that a list leaves out",
      [model("a", { versionPolicy: "all" })],
      [serving("a", 3n)],
      "serve versions 3 instead of all versions",
    ],
    ["versions that a policy may leave out", [serving("a", 1n)], [model("a")], "serve the newest version instead of versions 1"],
  ])("refuses to unload %s unless that is allowed", async (_title, before, after, words) => {
    const [from, to] = [config(...before), config(...after)];
    await start(from);
    const sent = reloads();
    await expect(apply({ from, to })).rejects.toMatchObject({
      name: "ServingError",
      code: "FAILED_PRECONDITION",
      message: expect.stringContaining(words),
    });
    expect(reloads()).toBe(sent);
    expect(await apply({ from, to, allowUnload: true })).toMatchObject({ applied: true });
  });

  it("knows from the server that a list has all that is served", async () => {
    await start(config(model("a")));
    const { changes } = await apply({ from: config(model("a")), to: config(serving("a", 2n, 3n)) });
    expect(changes).toMatchObject([{ kind: "change-policy", mayUnload: true }]);
    expect(await available("a")).toEqual([3n, 2n]);
  });

  it("tells when the server has the configuration but does not serve it in time", async () => {
    await start(config(serving("a", 1n)));
    const applying = apply({ from: config(serving("a", 1n)), to: config(serving("a", 1n, 9n)), timeoutMs: 400 });
    await expect(applying).rejects.toMatchObject({
      name: "ServingError",
      code: "DEADLINE_EXCEEDED",
      message: expect.stringMatching(
        /^DEADLINE_EXCEEDED: applyModelServerConfig: the server has the new configuration, but waitForModel a:9: /,
      ),
      hint: expect.stringContaining("the server has never seen this model or version"),
    });
  });

  it("passes on what the server refuses", async () => {
    await start(config(serving("a", 1n)));
    const to = config(model("a", { versionPolicy: { specific: [1n, 2n] }, versionLabels: { canary: 2n } }));
    await expect(apply({ from: config(serving("a", 1n)), to })).rejects.toMatchObject({ name: "RpcError", code: "FAILED_PRECONDITION" });
  });

  it("does not take an old failure for a new one", async () => {
    broken = true;
    await start(config(serving("a", 1n)));
    await start(config(serving("a", 1n), model("fails"))).catch(() => undefined);
    expect(await client.getModelStatus("fails")).toMatchObject([{ state: "END", errorCode: "OUT_OF_RANGE" }]);
    await start(config(serving("a", 1n)));
    broken = false;
    const from = config(serving("a", 1n));
    const to = config(serving("a", 1n), serving("fails", 1n));
    // A server looks at its folders some time after it has answered a reload of a model it knows.
    let looks = 0;
    const late: ConfigClient = {
      reloadConfig: async () => undefined,
      getModelStatus: async (name) => {
        if (++looks === 3) await client.reloadConfig(to);
        return client.getModelStatus(name);
      },
      waitForModel: (spec, limits) => client.waitForModel(spec, limits),
    };
    expect((await apply({ from, to }, late)).available).toContainEqual({ model: "fails", version: 1n });
    expect(looks).toBe(3);
  });

  it("rejects with the reason of the caller's abort", async () => {
    await start(config(serving("a", 1n)));
    const abort = new AbortController();
    const reason = new Error("enough");
    const applying = apply({ from: config(serving("a", 1n)), to: config(serving("a", 1n, 9n)), signal: abort.signal });
    await expect.poll(() => server.requests.at(-1)?.method).toBe("getModelStatus");
    abort.abort(reason);
    await expect(applying).rejects.toBe(reason);
  });

  describe("rejects before sending", () => {
    const one = config({ name: "m", basePath: "/m", modelPlatform: "tensorflow" });
    it.each<[string, unknown, string]>([
      [
        "what would make a server refuse all later reloads (trap 39)",
        { from: one, to: config({ name: "m", basePath: "/m" }) },
        "got neither",
      ],
      ["no configuration to start from", { to: one }, "config: expected { models: [...] }, got undefined"],
      ["an unknown option", { from: one, to: one, force: true }, "force: unknown option"],
      ["no time", { from: one, to: one, timeoutMs: 0 }, "timeoutMs: expected a positive number of milliseconds, got 0"],
    ])("%s", async (_title, options, message) => {
      const sent = server.requests.length;
      await expect(apply(options as ApplyOptions)).rejects.toThrow(message);
      expect(server.requests.length).toBe(sent);
    });
  });
});
