/** ReloadConfig and waitForModel. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ModelConfig, ModelLike, ModelServerConfig, PredictionClient, WaitOptions } from "../../../src/index.js";
import { type ContractCase, type ContractContext, type ContractKind, fails, type ScriptedPeer } from "../contract.js";

const notOverRest = { REST: fails("UNIMPLEMENTED", "gRPC") };

function reload(
  kind: ContractKind,
  title: string,
  run: ContractCase["run"],
  expected: unknown,
  needs?: ContractCase["needs"],
): ContractCase {
  return { method: "reloadConfig", kind, title, run, expected, over: notOverRest, ...(needs === undefined ? {} : { needs }) };
}

/** The configuration with one model more. */
const plus = (config: ModelServerConfig, model: ModelConfig): ModelServerConfig => ({ models: [...config.models, model] });

/** The configuration with something else for half_plus_two. */
function changed({ models }: ModelServerConfig, change: Partial<ModelConfig>): ModelServerConfig {
  return { models: models.map((model) => (model.name === "half_plus_two" ? { ...model, ...change } : model)) };
}

async function onScripted<T>({ startScripted }: ContractContext, work: (peer: ScriptedPeer) => Promise<T>): Promise<T> {
  const peer = await startScripted();
  return work(peer).finally(() => peer.close());
}

const halfPlusTwo: ModelConfig = { name: "half_plus_two", basePath: "/models/half_plus_two", modelPlatform: "tensorflow" };

/** A reload that adds a model with this folder to a scripted server. */
async function reloadWithFolder(context: ContractContext, versions: readonly string[], timeoutMs: number): Promise<void> {
  const basePath = mkdtempSync(join(tmpdir(), "tfserving-contract-"));
  for (const version of versions) mkdirSync(join(basePath, version));
  try {
    await onScripted(context, ({ client }) =>
      client.reloadConfig({ models: [halfPlusTwo, { name: "more", basePath, modelPlatform: "tensorflow" }] }, { timeoutMs }),
    );
  } finally {
    rmSync(basePath, { recursive: true });
  }
}

const servesAs = async (client: PredictionClient, model: ModelLike) => (await client.predict(model, [2])).outputs["y"]?.values;

const reloads: readonly ContractCase[] = [
  reload(
    "ok",
    "the same models and labels again",
    async ({ client, config }) => {
      await client.reloadConfig(config);
      return servesAs(client, { name: "multi_version", versionLabel: "stable" });
    },
    [6],
    "models folder",
  ),
  reload(
    "ok",
    "a model less",
    (context) =>
      onScripted(context, async ({ client }) => {
        await client.reloadConfig({ models: [] });
        // A server over connections unloads it when it next looks at its folders.
        for (;;) await servesAs(client, "half_plus_two");
      }),
    fails("NOT_FOUND", "Latest(half_plus_two)"),
    "scripted server",
  ),
  reload(
    "wrong model",
    "a model that does not load",
    (context) => reloadWithFolder(context, ["1"], 5000),
    fails("UNKNOWN", "1 model(s) did not become available"),
    "scripted server",
  ),
  reload(
    "wrong label",
    "a label on a version that is not there",
    ({ client, config }) => client.reloadConfig(changed(config, { versionLabels: { no: 9n } })),
    fails("FAILED_PRECONDITION", "version 9 of model half_plus_two, which is not currently available"),
    "models folder",
  ),
  reload(
    "wrong input",
    "a model twice",
    ({ client, config }) => client.reloadConfig(plus(config, halfPlusTwo)),
    fails("INVALID_ARGUMENT", "half_plus_two"),
    "models folder",
  ),
  reload(
    "deadline",
    "a model without versions",
    (context) => reloadWithFolder(context, [], 100),
    fails("DEADLINE_EXCEEDED", "check that each base path exists"),
    "scripted server",
  ),
  {
    method: "reloadConfig",
    kind: "wrong input",
    title: "a model without platform, which is not sent",
    run: ({ client }) => client.reloadConfig({ models: [{ name: "half_plus_two", basePath: "/models/half_plus_two" }] }),
    expected: fails("TypeError", "expected modelPlatform"),
  },
];

const available = (version: bigint) => ({ version, state: "AVAILABLE", errorCode: "OK", errorMessage: "" });
const soon: WaitOptions = { timeoutMs: 200, pollIntervalMs: 10 };

function wait(kind: ContractKind, title: string, model: ModelLike, expected: unknown): ContractCase {
  return { method: "waitForModel", kind, title, run: ({ client }) => client.waitForModel(model, soon), expected };
}

const waits: readonly ContractCase[] = [
  {
    method: "waitForModel",
    kind: "ok",
    title: "the newest version",
    run: ({ client }) => client.waitForModel("multi_version"),
    expected: available(3n),
  },
  {
    method: "waitForModel",
    kind: "ok",
    title: "a version",
    run: ({ client }) => client.waitForModel({ name: "multi_version", version: 1 }),
    expected: available(1n),
  },
  {
    method: "waitForModel",
    kind: "ok",
    title: "a version that loads later",
    run: (context) =>
      onScripted(context, async ({ client, setVersionState }) => {
        setVersionState("half_plus_two", 123, "LOADING");
        const ready = client.waitForModel("half_plus_two", { pollIntervalMs: 5 });
        await client.getModelStatus("half_plus_two");
        setVersionState("half_plus_two", 123, "AVAILABLE");
        return ready;
      }),
    expected: available(123n),
    needs: "scripted server",
  },
  {
    method: "waitForModel",
    kind: "wrong version",
    title: "the newest version failed to load",
    run: (context) =>
      onScripted(context, ({ client, setVersionState }) => {
        setVersionState("half_plus_two", 124, "END", { code: "INTERNAL", message: "no such file" });
        return client.waitForModel("half_plus_two");
      }),
    expected: fails("INTERNAL", "version 124 failed to load: no such file"),
    needs: "scripted server",
  },
  {
    method: "waitForModel",
    kind: "deadline",
    title: "a version that goes on loading",
    run: (context) =>
      onScripted(context, ({ client, setVersionState }) => {
        setVersionState("half_plus_two", 123, "LOADING");
        return client.waitForModel("half_plus_two", soon);
      }),
    expected: fails("DEADLINE_EXCEEDED", "last seen: version 123 LOADING"),
    needs: "scripted server",
  },
  wait("wrong model", "an unknown name", "nowhere", fails("DEADLINE_EXCEEDED", "last seen: NOT_FOUND")),
  wait("wrong version", "an unknown version", { name: "multi_version", version: 9 }, fails("DEADLINE_EXCEEDED", "last seen: NOT_FOUND")),
  wait(
    "wrong label",
    "any label",
    { name: "multi_version", versionLabel: "stable" },
    fails("TypeError", "a status says nothing of labels"),
  ),
];

/** What changes a server, and what waits for it. */
export const reloadAndWaitCases: readonly ContractCase[] = [...reloads, ...waits];
