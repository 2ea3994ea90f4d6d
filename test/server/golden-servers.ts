/** Recorded groups that need servers of their own: flags, batching, metrics, process starts, scenarios of reloads, warm-up. */
import { copyFileSync, cpSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { GetModelStatusRequest, GetModelStatusResponse } from "../../gen/tensorflow_serving/apis/get_model_status.js";
import { ReloadConfigRequest } from "../../gen/tensorflow_serving/apis/model_management.js";
import { PredictResponse } from "../../gen/tensorflow_serving/apis/predict.js";
import { parseBatchingParameters, parseMonitoringConfig } from "../../src/config/index.js";
import { isServingError } from "../../src/errors.js";
import { statusesFromProto } from "../../src/messages.js";
import { type ModelServerOptions, startModelServer } from "../../src/server/index.js";
import { dtypeFromWire, dtypeToUpstreamName } from "../../src/tensor/dtype.js";
import { firstOf, messageDifference, plain, restDifference, same, valueDifference } from "./golden-compare.js";
import { type Exchange, type RecordedServer, readGolden, restRequest } from "./golden-exchanges.js";
import { type FileStep, GoldenFolders, loadGoldenServable } from "./golden-folders.js";
import { grpcExchange, type Outcome, type Peer, runOne, withServer } from "./golden-run.js";
import { rawGrpc } from "./raw-grpc.js";
import { rawHttp } from "./raw-http.js";

type Difference = string | undefined;

/** Folders are looked at much more often than the recorded server did, so that scenarios take less time. */
const pollMs = 20;
/** How long states have to stay as they are. */
const calmMs = 5 * pollMs;
const settleMs = 5_000;
/** Calls that run into their deadline get a shorter one. */
const shortDeadlineMs = 300;

/** The options that stand for flags of the real server; those with a file take its text from the record. */
const flagOptions: Readonly<Record<string, (value: string, server: RecordedServer) => ModelServerOptions>> = {
  max_num_load_retries: (value) => ({ maxLoadRetries: Number(value) }),
  load_retry_interval_micros: (value) => ({ loadRetryIntervalMs: Math.max(0, Number(value) / 1_000) }),
  enable_serialization_as_tensor_content: () => ({ enableSerializationAsTensorContent: true }),
  enable_signature_method_name_check: () => ({ enableSignatureMethodNameCheck: true }),
  allow_version_labels_for_unavailable_models: () => ({ allowVersionLabelsForUnavailableModels: true }),
  rest_api_enable_cors_support: () => ({ enableRestCors: true }),
  enable_grpc_healthcheck_service: () => ({ enableHealthService: true }),
  rest_api_timeout_in_ms: (value) => ({ restTimeoutMs: Number(value) }),
  monitoring_config_file: (_file, { monitoring_config: text = "prometheus_config { enable: true }" }) => ({
    monitoring: parseMonitoringConfig(text),
  }),
  // The file says it too.
  enable_batching: () => ({}),
  batching_parameters_file: (_file, { batching_parameters: text = "" }) => ({ batching: parseBatchingParameters(text) }),
};

function optionsOf(folders: GoldenFolders, config: string, server: RecordedServer): ModelServerOptions {
  const options = (server.flags ?? []).map((flag) => {
    const [, name = "", value = ""] = /^--(\w+)=?(.*)$/.exec(flag) ?? [];
    const option = flagOptions[name];
    if (option === undefined) throw new Error(`no option stands for ${flag}`);
    return option(value, server);
  });
  const modelConfigFile = folders.file("models.config", config);
  return Object.assign({ modelConfigFile, loadServable: loadGoldenServable, fileSystemPollMs: pollMs }, ...options);
}

async function withFolders<T>(use: (folders: GoldenFolders) => Promise<T>): Promise<T> {
  const folders = new GoldenFolders();
  try {
    return await use(folders);
  } finally {
    folders.remove();
  }
}

/** Exchanges with other flags; those of one server stand together and are sent in their order. */
export async function runFlags(wanted: readonly Exchange[]): Promise<Outcome[]> {
  const groups = new Map<string, Exchange[]>();
  for (const exchange of wanted) {
    const key = exchange.transport === "process" ? exchange.id : JSON.stringify(exchange.server);
    groups.set(key, [...(groups.get(key) ?? []), exchange]);
  }
  return (await Promise.all([...groups.values()].map((group) => withFolders((folders) => runGroup(folders, group))))).flat();
}

const batchingModels = ["half_plus_two", "dtype_zoo", "multi_io", "encoder", "recommender", "digits", "slow", "signature_defaults"];
/** The one server of the flags that was started with a version policy. */
const labelPolicies = { multi_version: "model_version_policy { specific { versions: 1 versions: 2 } }" };

async function runGroup(folders: GoldenFolders, group: readonly Exchange[]): Promise<Outcome[]> {
  const [first] = group;
  const { server = {}, transport } = first as Exchange;
  if (transport === "process") return Promise.all(group.map((exchange) => outcome(exchange, startDifference(folders, exchange))));
  const policies = server.flags?.includes("--allow_version_labels_for_unavailable_models") ? labelPolicies : {};
  // Without models the recorded server had a file with a comment only.
  const config = server.models?.length === 0 ? "# nothing" : folders.config(server.models ?? batchingModels, policies);
  return withServer(optionsOf(folders, config, server), async (peer) => {
    const outcomes: Outcome[] = [];
    for (const exchange of group) outcomes.push(await runInGroup(peer, folders, exchange));
    return outcomes;
  });
}

function runInGroup(peer: Peer, folders: GoldenFolders, exchange: Exchange): Promise<Outcome> {
  const { request, response } = exchange;
  if (request.together !== undefined) return outcome(exchange, togetherDifference(peer, exchange));
  if (response.lines !== undefined || exchange.compare === "metrics") return outcome(exchange, metricsDifference(peer, exchange));
  if (request.method.endsWith("/HandleReloadConfigRequest")) return outcome(exchange, reloadDifference(peer, folders, exchange));
  return runOne(peer, exchange);
}

async function outcome({ id }: { readonly id: string }, difference: Promise<Difference>): Promise<Outcome> {
  const reason = await difference.catch((error: unknown) => String(error));
  return reason === undefined ? { id, result: "passed" } : { id, result: "failed", reason };
}

// Starts

/** A start that fails ends the recorded process with 255; here it rejects with the text. */
async function startDifference(folders: GoldenFolders, { request, response }: Exchange): Promise<Difference> {
  const { model_config_file: config = folders.config(["half_plus_two"]), batching_parameters: batching, flags = [] } = request;
  const given = batching === undefined ? { flags } : { flags: [...flags, "--batching_parameters_file=..."], batching_parameters: batching };
  const expected = `${response.status} ${response.error ?? response.text ?? ""}`.trim();
  try {
    await (await startModelServer(optionsOf(folders, folders.here(config), given))).close();
    return same("starts", expected);
  } catch (error) {
    if (!isServingError(error)) throw error;
    const said = folders.recorded(`${error.code}: ${error.message}`).replace("/tmp/models/models.config", "<dir>/flags-start.config");
    // Of a start that failed for its batching parameters only the cause was recorded.
    const cause = response.text !== undefined && said.includes(response.text) ? response.text : said;
    return same(`exit 255 ${cause}`, expected);
  }
}

// Calls at the same moment

/** As often as the recorder tried it: calls that do not come soon enough after another are not run together. */
const maxAttempts = 10;

async function togetherDifference(peer: Peer, exchange: Exchange): Promise<Difference> {
  let difference: Difference;
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    difference = await oneAttempt(peer, exchange);
    if (difference === undefined) return undefined;
  }
  return difference;
}

async function oneAttempt({ client }: Peer, { request, response }: Exchange): Promise<Difference> {
  const answers = await Promise.all(
    (request.together ?? []).map(({ bytes }) => rawGrpc(client, request.method, Buffer.from(bytes, "base64"))),
  );
  return firstOf(response.each ?? [], ({ code, message, json }, index) => {
    const answer = answers[index] ?? { code: "", message: "" };
    const said = messageDifference(answer, { code, message }, { depends_on_model: false });
    if (said !== undefined || json === undefined || answer.bytes === undefined) return said;
    return valueDifference(predictJson(PredictResponse.decode(answer.bytes)), json, { path: "answer" });
  });
}

/** A Predict answer as protobuf's JSON, as far as recorded answers go. */
function predictJson({ outputs, modelSpec }: PredictResponse): unknown {
  const tensors = Object.entries(outputs).map(([name, { dtype, tensorShape, floatVal }]) => [
    name,
    {
      dtype: dtypeToUpstreamName(dtypeFromWire(dtype)),
      tensorShape: { dim: tensorShape?.dim.map(({ size }) => ({ size: String(size) })) },
      floatVal,
    },
  ]);
  const { name, version, signatureName } = modelSpec ?? {};
  return { outputs: Object.fromEntries(tensors), modelSpec: plain({ name, version, signatureName }) };
}

// Metrics

/** Names, labels and counts have to be the same; times and buckets not, but of batches. */
async function metricsDifference({ server }: Peer, { request, response }: Exchange): Promise<Difference> {
  const answer = await rawHttp(server.restPort, Buffer.from(`GET ${request.target} HTTP/1.1\r\n\r\n`));
  const lines = answer.body.toString().split("\n");
  const status = same(`${answer.status} ${answer.headers.get("content-type")}`, `200 text/plain`);
  if (response.lines !== undefined) {
    // Recorded without the time in the queue and without values of zero.
    const own = lines.filter((line) => line.includes("batching_session") && !line.includes("queuing_latency") && !line.endsWith(" 0"));
    return status ?? same(own.join("\n"), response.lines.join("\n"));
  }
  const counts = (all: readonly string[]) =>
    all
      .filter((line) => line.includes(":tensorflow:serving:") && !line.includes("_bucket{"))
      .map((line) => (/latency_sum\{/.test(line) ? line.replace(/ \S+$/, "") : line))
      .join("\n");
  return status ?? (response.serving_lines === undefined ? undefined : same(counts(lines), counts(response.serving_lines)));
}

// Scenarios

type Step =
  | ({ readonly do: "reload" | "call" } & Exchange & { readonly note: string })
  | { readonly do: "settle"; readonly note: string; readonly status: Readonly<Record<string, { code: string; bytes?: string }>> }
  | ({ readonly do: "files"; readonly note: string } & FileStep);

/** Scenarios of reloads and folders, each on a server of its own. */
export function runScenarios(wanted: readonly Exchange[]): Promise<Outcome[]> {
  return Promise.all(
    wanted.map((scenario) =>
      outcome(
        scenario,
        withFolders((folders) => scenarioDifference(folders, scenario)),
      ),
    ),
  );
}

function scenarioDifference(folders: GoldenFolders, { server = {}, steps = [] }: Exchange): Promise<Difference> {
  return withServer(optionsOf(folders, folders.here(server.config ?? ""), server), async (peer) => {
    for (const step of steps as readonly Step[]) {
      const difference = await stepDifference(peer, folders, step);
      if (difference !== undefined) return `${step.do} "${step.note}": ${difference}`;
    }
    return undefined;
  });
}

async function stepDifference(peer: Peer, folders: GoldenFolders, step: Step): Promise<Difference> {
  switch (step.do) {
    case "files":
      folders.apply(step);
      return undefined;
    case "settle":
      return settleDifference(peer, step.status);
    case "reload":
      return reloadDifference(peer, folders, step);
    case "call": {
      const rules = { ...step, depends_on_model: true };
      if (step.request.target !== undefined)
        return restDifference(await rawHttp(peer.server.restPort, restRequest(step)), step.response, rules);
      return grpcExchange(peer, rules);
    }
    default:
      return step satisfies never;
  }
}

async function reloadDifference(
  { client }: Peer,
  folders: GoldenFolders,
  { request, response }: Pick<Exchange, "request" | "response">,
): Promise<Difference> {
  const bytes = Buffer.from(request.bytes ?? "", "base64");
  const timeoutMs = response.code === "DEADLINE_EXCEEDED" ? shortDeadlineMs : request.timeout_ms;
  const answer = await rawGrpc(client, request.method, atRoot(bytes, folders), timeoutMs);
  const rules = response.code === "DEADLINE_EXCEEDED" || response.code === "INTERNAL" ? { transport_text: "not binding" } : {};
  return messageDifference(
    { ...answer, message: folders.recorded(answer.message) },
    { code: response.code, message: response.message ?? "" },
    { depends_on_model: false, ...rules },
  );
}

/** A reload with base paths that are here; bytes that are none stay as they are. */
function atRoot(bytes: Uint8Array, folders: GoldenFolders): Uint8Array {
  try {
    const request = ReloadConfigRequest.decode(bytes);
    for (const model of request.config?.modelConfigList?.config ?? []) model.basePath = folders.here(model.basePath);
    return request.config?.modelConfigList === undefined ? bytes : ReloadConfigRequest.encode(request).finish();
  } catch {
    return bytes;
  }
}

/** Waits until the states are the recorded ones and stay so. */
async function settleDifference(peer: Peer, expected: Readonly<Record<string, { code: string; bytes?: string }>>): Promise<Difference> {
  const look = async (): Promise<Difference> => {
    for (const [name, status] of Object.entries(expected)) {
      const wanted = status.code === "OK" ? statusText(Buffer.from(status.bytes ?? "", "base64")) : status.code;
      const difference = same(await statusOf(peer, name), wanted);
      if (difference !== undefined) return `${name}: ${difference}`;
    }
    return undefined;
  };
  const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  const end = performance.now() + settleMs;
  for (;;) {
    const difference = await look();
    if (difference !== undefined && performance.now() > end) return difference;
    await wait(difference === undefined ? calmMs : pollMs);
    if (difference === undefined) return look();
  }
}

async function statusOf({ client }: Peer, name: string): Promise<string> {
  const bytes = GetModelStatusRequest.encode(GetModelStatusRequest.create({ modelSpec: { name } })).finish();
  const answer = await rawGrpc(client, "/tensorflow.serving.ModelService/GetModelStatus", bytes);
  return answer.bytes === undefined ? answer.code : statusText(answer.bytes);
}

function statusText(bytes: Uint8Array): string {
  const statuses = statusesFromProto(GetModelStatusResponse.decode(bytes));
  return statuses.map(({ version, state, errorCode, errorMessage }) => `${version} ${state} ${errorCode} ${errorMessage}`).join("; ");
}

// Warm-up

interface WarmupOutcome {
  readonly file: string;
  readonly base_path: string;
  readonly state: string;
  readonly error_code: string;
  readonly error_message: string;
  readonly reload: { readonly code: string; readonly message: string };
}

/** The real server puts bytes that are no text into messages, the embedded one replacement characters: `docs/server.md`. */
const bytesInTexts: ReadonlySet<string> = new Set(["unparsable_record.tfrecord"]);

const records = fileURLToPath(new URL("../fixtures/tfrecord/", import.meta.url));

/** Every recorded warm-up file, in a model that a reload adds. */
export function runWarmup(): Promise<Outcome[]> {
  const { entries } = readGolden<{ entries: WarmupOutcome[] }>("warmup/outcomes.json");
  return withFolders((folders) =>
    withServer(optionsOf(folders, folders.config(["half_plus_two"]), { flags: ["--max_num_load_retries=0"] }), async (peer) => {
      const outcomes: Outcome[] = [];
      for (const entry of entries) outcomes.push(await outcome({ id: `warmup/${entry.file}` }, warmupDifference(peer, folders, entry)));
      return outcomes;
    }),
  );
}

async function warmupDifference(peer: Peer, folders: GoldenFolders, entry: WarmupOutcome): Promise<Difference> {
  const basePath = folders.here(entry.base_path);
  const name = basePath.slice(basePath.lastIndexOf("/") + 1);
  const warmupFile = join(basePath, "00000123", "assets.extra", "tf_serving_warmup_requests");
  cpSync(join(folders.root, "half_plus_two"), basePath, { recursive: true, dereference: true });
  mkdirSync(dirname(warmupFile), { recursive: true });
  copyFileSync(join(records, entry.file), warmupFile);
  const models = [
    { name: "half_plus_two", basePath: join(folders.root, "half_plus_two") },
    { name, basePath },
  ];
  const config = models.map((model) => ({ ...model, modelPlatform: "tensorflow" }));
  const bytes = ReloadConfigRequest.encode(ReloadConfigRequest.fromPartial({ config: { modelConfigList: { config } } } as never)).finish();
  const answer = await rawGrpc(peer.client, "/tensorflow.serving.ModelService/HandleReloadConfigRequest", bytes, 30_000);
  const text = (message: string) => folders.recorded(bytesInTexts.has(entry.file) ? message.replace(/ÿ|\\xff|\ufffd/g, "?") : message);
  const recorded = { ...entry.reload, message: text(entry.reload.message) };
  const said = messageDifference({ ...answer, message: text(answer.message) }, recorded, { depends_on_model: false });
  const state = `123 ${entry.state} ${entry.error_code} ${entry.error_message}`;
  return said ?? same(text(await statusOf(peer, name)), text(state));
}
