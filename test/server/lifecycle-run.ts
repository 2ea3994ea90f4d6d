/** A server whose models come, go, fail and move at random, while it is called; for `lifecycle.test.ts` and `npm run lifecycle`. */
import { renameSync } from "node:fs";
import { Client, credentials } from "@grpc/grpc-js";
import { GetModelStatusRequest } from "../../gen/tensorflow_serving/apis/get_model_status.js";
import { ReloadConfigRequest } from "../../gen/tensorflow_serving/apis/model_management.js";
import { modelServerConfigToProto } from "../../src/config-messages.js";
import { modelSpecToProto } from "../../src/messages.js";
import type { ModelConfig, VersionPolicy } from "../../src/model-server-config.js";
import type { ModelSpec } from "../../src/model-spec.js";
import { EncodedPredictRequest } from "../../src/predict-codec.js";
import { type ModelServer, type Servable, type StateChange, servable, startModelServer } from "../../src/server/index.js";
import { tensor } from "../../src/tensor/tensor.js";
import { Random } from "../support/random.js";
import { type RawGrpcAnswer, rawGrpc } from "./raw-grpc.js";
import { VersionRoot } from "./version-root.js";

/** Options of {@link runLifecycle}. */
export interface LifecycleOptions {
  readonly seed: number;
  readonly durationMs: number;
}

/** What happened in a {@link runLifecycle}. */
export interface LifecycleReport {
  readonly actions: number;
  /** Calls by kind and code. */
  readonly calls: Readonly<Record<string, number>>;
  readonly stateChanges: number;
  /** What must not happen; empty where all is well. */
  readonly violations: readonly string[];
}

/** Where a version can go from each state; versions start without one. */
const edges: Readonly<Record<string, readonly string[]>> = {
  none: ["START"],
  START: ["LOADING"],
  LOADING: ["AVAILABLE", "END"],
  AVAILABLE: ["UNLOADING"],
  UNLOADING: ["END"],
  END: ["START"],
};

/** Codes that calls may have, but for those of which more is demanded. */
const expectedCodes: ReadonlySet<string> = new Set(["OK", "NOT_FOUND", "INVALID_ARGUMENT", "UNAVAILABLE"]);
const reloadCodes: ReadonlySet<string> = new Set(["OK", "FAILED_PRECONDITION", "UNKNOWN", "DEADLINE_EXCEEDED"]);

const maxFolders = 5;
const callTimeoutMs = 5_000;
const reloadTimeoutMs = 300;
const x = tensor("float32", [1], [1]);

/** A model that takes its time now and then, so that versions are unloaded while calls run on them. */
function slowServable(random: Random): Servable {
  return servable({
    signatures: {
      serving_default: { inputs: { x: { dtype: "float32", shape: [null] } }, outputs: { y: { dtype: "float32", shape: [null] } } },
    },
    predict: (inputs) => {
      const delayMs = random.below(4) === 0 ? random.below(40) : 0;
      return delayMs === 0 ? { y: inputs.x } : new Promise((resolve) => setTimeout(() => resolve({ y: inputs.x }), delayMs));
    },
  });
}

/** `steady` always has a version that can be loaded; `wild` may lose its versions, its base path and its place in the configuration. */
class Lifecycle {
  readonly violations: string[] = [];
  readonly calls: Record<string, number> = {};
  readonly #random: Random;
  readonly #root = new VersionRoot();
  readonly #states = new Map<string, string>();
  /** Folders of each model, by whether they can be loaded. */
  readonly #folders = new Map([
    ["steady", new Map<number, boolean>()],
    ["wild", new Map<number, boolean>()],
  ]);
  #wildIsAway = false;
  #steadyIsUp = false;
  stateChanges = 0;
  actions = 0;

  constructor(seed: number) {
    this.#random = new Random(seed);
  }

  async run(durationMs: number): Promise<void> {
    for (const model of ["steady", "wild"]) this.#addFolder(model, 1, true);
    const server = await startModelServer({
      models: {
        steady: this.#root.of("steady"),
        wild: this.#root.of("wild"),
        given: { 1: slowServable(this.#random), 2: slowServable(this.#random) },
      },
      loadServable: async (folder, model) => {
        await this.#root.load(folder, model);
        return slowServable(this.#random);
      },
      fileSystemPollMs: 5,
      maxLoadRetries: 1,
      loadRetryIntervalMs: 10,
      onStateChange: (change) => this.#check(change),
    });
    const client = new Client(server.grpcTarget, credentials.createInsecure());
    this.#steadyIsUp = true;
    const end = performance.now() + durationMs;
    try {
      await Promise.all([this.#actUntil(end, client), ...Array.from({ length: 4 }, () => this.#callUntil(end, client, server))]);
    } finally {
      this.#steadyIsUp = false;
      client.close();
      await server.close();
      this.#root.close();
    }
  }

  // Invariants

  #check({ name, version, state }: StateChange): void {
    this.stateChanges++;
    const key = `${name} ${version}`;
    const before = this.#states.get(key) ?? "none";
    if (!edges[before]?.includes(state)) this.violations.push(`${key}: ${before} -> ${state}`);
    this.#states.set(key, state);
    if (name === "steady" && this.#steadyIsUp && !this.#isServed(name))
      this.violations.push(`a gap: ${key} ${state}, and no other available`);
  }

  #isServed(name: string): boolean {
    for (const [key, state] of this.#states) if (key.startsWith(`${name} `) && state === "AVAILABLE") return true;
    return false;
  }

  #count(kind: string, { code, message }: RawGrpcAnswer, allowed: ReadonlySet<string>): void {
    this.calls[`${kind} ${code}`] = (this.calls[`${kind} ${code}`] ?? 0) + 1;
    if (!allowed.has(code)) this.violations.push(`${kind}: ${code} ${message}`);
  }

  // Actions

  async #actUntil(end: number, client: Client): Promise<void> {
    while (performance.now() < end) {
      this.actions++;
      await this.#random.pick([
        () => this.#add("steady"),
        () => this.#add("wild"),
        () => this.#remove("steady"),
        () => this.#remove("wild"),
        () => this.#moveWild(),
        () => this.#reload(client),
        () => this.#reload(client),
        () => this.#pause(),
      ])();
    }
  }

  #addFolder(model: string, version: number, isFine: boolean): void {
    this.#root.add(model, version, isFine ? "fine" : "broken");
    this.#folders.get(model)?.set(version, isFine);
  }

  #add(model: string): void {
    const folders = this.#folders.get(model) ?? new Map<number, boolean>();
    const version = 1 + this.#random.below(12);
    if (folders.has(version) || folders.size >= maxFolders || (model === "wild" && this.#wildIsAway)) return;
    this.#addFolder(model, version, this.#random.below(5) > 0);
  }

  #remove(model: string): void {
    const folders = this.#folders.get(model) ?? new Map<number, boolean>();
    if (folders.size === 0 || (model === "wild" && this.#wildIsAway)) return;
    const version = this.#random.pick([...folders.keys()]);
    const left = [...folders].filter(([other, isFine]) => other !== version && isFine);
    if (model === "steady" && left.length === 0) return;
    folders.delete(version);
    this.#root.remove(model, version);
  }

  /** The base path goes away, or comes back. */
  #moveWild(): void {
    const [from, to] = this.#wildIsAway ? ["away", "wild"] : ["wild", "away"];
    renameSync(this.#root.of(from), this.#root.of(to));
    this.#wildIsAway = !this.#wildIsAway;
  }

  async #reload(client: Client): Promise<void> {
    const models = [
      this.#configOf("steady"),
      ...["wild", "given"].filter(() => this.#random.below(4) > 0).map((name) => this.#configOf(name)),
    ];
    const bytes = ReloadConfigRequest.encode(ReloadConfigRequest.create({ config: modelServerConfigToProto({ models }) })).finish();
    const answer = await rawGrpc(client, "/tensorflow.serving.ModelService/HandleReloadConfigRequest", bytes, reloadTimeoutMs);
    this.#count("reload", answer, reloadCodes);
    // A new model without a base path holds every later reload until it is back.
    if (answer.code === "DEADLINE_EXCEEDED" && this.#wildIsAway) this.#moveWild();
  }

  #configOf(name: string): ModelConfig {
    const policies: VersionPolicy[] = [{ latest: 1 }, { latest: 2 }, "all"];
    const label = () => ({ [this.#random.pick(["a", "b"])]: BigInt(1 + this.#random.below(12)) });
    return {
      name,
      basePath: this.#root.of(name),
      modelPlatform: "tensorflow",
      versionPolicy: this.#random.pick(name === "wild" ? [...policies, { specific: [1n, 3n] }] : policies),
      ...(this.#random.below(3) === 0 ? { versionLabels: label() } : {}),
    };
  }

  async #pause(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, this.#random.below(30)));
  }

  // Calls

  async #callUntil(end: number, client: Client, server: ModelServer): Promise<void> {
    while (performance.now() < end) {
      await this.#random.pick([
        () => this.#predictSteady(client),
        () => this.#predict(client),
        () => this.#status(client),
        () => this.#rest(server),
      ])();
    }
  }

  async #predictSteady(client: Client): Promise<void> {
    this.#count("steady", await this.#ask(client, { name: "steady" }), new Set(["OK"]));
  }

  async #predict(client: Client): Promise<void> {
    const name = this.#random.pick(["steady", "wild", "given"]);
    const spec = this.#random.pick<ModelSpec>([{ name }, { name, version: 1 + this.#random.below(12) }, { name, versionLabel: "a" }]);
    this.#count("any", await this.#ask(client, spec), expectedCodes);
  }

  #ask(client: Client, spec: ModelSpec): Promise<RawGrpcAnswer> {
    const bytes = new EncodedPredictRequest(spec, { x }).toBuffer();
    return rawGrpc(client, "/tensorflow.serving.PredictionService/Predict", bytes, callTimeoutMs);
  }

  async #status(client: Client): Promise<void> {
    const modelSpec = modelSpecToProto({ name: this.#random.pick(["steady", "wild"]) });
    const bytes = GetModelStatusRequest.encode(GetModelStatusRequest.create({ modelSpec })).finish();
    this.#count("status", await rawGrpc(client, "/tensorflow.serving.ModelService/GetModelStatus", bytes, callTimeoutMs), expectedCodes);
  }

  async #rest({ restTarget }: ModelServer): Promise<void> {
    const name = this.#random.pick(["steady", "wild"]);
    const request = { method: "POST", body: '{"instances": [1]}', signal: AbortSignal.timeout(callTimeoutMs) };
    const { status } = await fetch(`${restTarget}/v1/models/${name}:predict`, request);
    const code = status === 200 ? "OK" : `HTTP ${status}`;
    this.#count(`REST ${name}`, { code, message: "" }, new Set(name === "steady" ? ["OK"] : ["OK", "HTTP 404"]));
  }
}

/**
 * Let models come, go, fail and move for a time, and call them meanwhile.
 *
 * It looks that a model which always has a version to load is always served, that versions go from state to state as they may, and that every
 * call is answered in time.
 */
export async function runLifecycle({ seed, durationMs }: LifecycleOptions): Promise<LifecycleReport> {
  const lifecycle = new Lifecycle(seed);
  await lifecycle.run(durationMs);
  const { actions, calls, stateChanges, violations } = lifecycle;
  return { actions, calls, stateChanges, violations };
}
