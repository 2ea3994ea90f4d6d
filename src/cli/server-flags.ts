/** The flags of `tfserving serve`: those of `tensorflow_model_server` 2.20.0, under its names (`model_servers/main.cc`). */
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { Option } from "commander";
import { type BatchingParameters, parseBatchingParameters } from "../config/batching-parameters.js";
import { parseMonitoringConfig } from "../config/monitoring-config.js";
import { maxTimerMs } from "../deadline.js";
import { messageInFile } from "../server/config-file.js";
import type { LoadServable } from "../server/load-version.js";
import type { ModelMap } from "../server/model-map.js";
import type { ModelServerOptions } from "../server/model-server.js";
import { refusal } from "../server/refusal.js";
import { CommandError, exitCodes } from "./command-error.js";

/** Values of the flags; a text that was not given is empty, as in the real server. */
export interface ServerFlags {
  readonly host: string;
  readonly port: number;
  readonly rest_api_port: number;
  readonly servable: string;
  readonly model_name: string;
  readonly model_base_path: string;
  readonly model_config_file: string;
  readonly model_config_file_poll_wait_seconds: number;
  readonly file_system_poll_wait_seconds: number;
  readonly allow_version_labels_for_unavailable_models: boolean;
  readonly max_num_load_retries: number;
  readonly load_retry_interval_micros: number;
  readonly enable_model_warmup: boolean;
  readonly enable_batching: boolean;
  readonly batching_parameters_file: string;
  readonly monitoring_config_file: string;
  readonly rest_api_timeout_in_ms: number;
  readonly rest_api_enable_cors_support: boolean;
  readonly grpc_max_threads: number;
  readonly enable_grpc_healthcheck_service: boolean;
  readonly enable_signature_method_name_check: boolean;
  readonly enable_serialization_as_tensor_content: boolean;
}

/** All flags as options of a command, with the real server's defaults but for the two of the ports. */
export function serverFlags(): Option[] {
  return [
    text("host", "127.0.0.1", "address that both ports listen on; there is no authentication"),
    integer("port", 8500, "port of gRPC; 0 takes a free one", ports),
    integer("rest_api_port", 8501, "port of REST; 0 takes a free one", ports),
    text("servable", "", "JavaScript module that serves the models"),
    text("model_name", "default", "name of the model in --model_base_path"),
    text("model_base_path", "", "folder of one model, whose numbered folders are its versions; absolute"),
    text("model_config_file", "", "list of models, in place of --model_name and --model_base_path"),
    integer("model_config_file_poll_wait_seconds", 0, "how often that file is read and applied again; 0: once"),
    integer("file_system_poll_wait_seconds", 1, "how often folders are looked at; 0: at the start", { least: 0 }),
    boolean("allow_version_labels_for_unavailable_models", false, "let new labels name versions that are not available yet"),
    integer("max_num_load_retries", 5, "further attempts to load a version", { least: 0 }),
    integer("load_retry_interval_micros", 60_000_000, "time between these attempts"),
    boolean("enable_model_warmup", true, "run the warm-up requests in a version's folder"),
    boolean("enable_batching", false, "run requests together"),
    text("batching_parameters_file", "", "how they are run together"),
    text("monitoring_config_file", "", "where metrics for Prometheus are shown"),
    integer("rest_api_timeout_in_ms", 30_000, "how long a run for REST may take"),
    boolean("rest_api_enable_cors_support", false, "let web pages of any origin read answers"),
    integer("grpc_max_threads", 4 * availableParallelism(), "one call less runs at a time over gRPC", { least: 2 }),
    boolean("enable_grpc_healthcheck_service", false, "serve grpc.health.v1.Health"),
    boolean("enable_signature_method_name_check", false, "signatures answer only calls of their own kind"),
    boolean("enable_serialization_as_tensor_content", false, "answer Predict over gRPC in tensor_content"),
  ];
}

function text(name: keyof ServerFlags, value: string, description: string): Option {
  return new Option(`--${name} <text>`, description).default(value, value === "" ? "none" : undefined);
}

/** Which values a flag may have. */
interface IntegerRange {
  readonly least?: number;
  readonly most?: number;
}

const ports: IntegerRange = { least: 0, most: 65_535 };

function integer(name: keyof ServerFlags, value: number, description: string, { least, most }: IntegerRange = {}): Option {
  const bounds = [least === undefined ? "" : ` from ${least}`, most === undefined ? "" : ` to ${most}`].join("");
  const parse = (given: string) => {
    const number = /^-?\d+$/.test(given) ? Number(given) : Number.NaN;
    const isInRange = number >= (least ?? Number.MIN_SAFE_INTEGER) && number <= (most ?? Number.MAX_SAFE_INTEGER);
    if (!isInRange) throw wrongValue(name, `a whole number${bounds}`, given);
    return number;
  };
  return new Option(`--${name} <number>`, description).default(value).argParser(parse);
}

const booleans: ReadonlyMap<string, boolean> = new Map([
  ["true", true],
  ["1", true],
  ["false", false],
  ["0", false],
]);

function boolean(name: keyof ServerFlags, value: boolean, description: string): Option {
  const parse = (given: string) => {
    const parsed = booleans.get(given);
    if (parsed === undefined) throw wrongValue(name, "true or false", given);
    return parsed;
  };
  return new Option(`--${name} [boolean]`, description).default(value).argParser(parse);
}

/** A time that timers here can take, at most 24 days; the real server takes a negative one for none. */
function timeOrNone(ms: number): number {
  return Math.min(Math.max(0, ms), maxTimerMs);
}

function wrongValue(name: string, expected: string, given: string): CommandError {
  return new CommandError(`--${name}: expected ${expected}, got ${JSON.stringify(given)}`, { exitCode: exitCodes.notStarted });
}

/**
 * The options of a server that has these flags; reads the files they name, all but the models'.
 *
 * @throws ServingError as the real server says it, if no models are named, a file is missing or cannot be parsed, or flags do not go
 * together; what the module of `--servable` throws.
 */
export async function serverOptionsFrom(flags: ServerFlags): Promise<ModelServerOptions> {
  const { monitoring_config_file: monitoringFile } = flags;
  return {
    ...(await modelOptionsFrom(flags)),
    host: flags.host,
    grpcPort: flags.port,
    restPort: flags.rest_api_port,
    // Without such a file there is nothing to read again.
    modelConfigFilePollMs: flags.model_config_file === "" ? 0 : timeOrNone(flags.model_config_file_poll_wait_seconds * 1000),
    fileSystemPollMs: timeOrNone(flags.file_system_poll_wait_seconds * 1000),
    allowVersionLabelsForUnavailableModels: flags.allow_version_labels_for_unavailable_models,
    loadRetryIntervalMs: timeOrNone(flags.load_retry_interval_micros / 1000),
    enableModelWarmup: flags.enable_model_warmup,
    batching: await batchingFrom(flags),
    monitoring: monitoringFile === "" ? undefined : await messageInFile(monitoringFile, parseMonitoringConfig),
    restTimeoutMs: timeOrNone(flags.rest_api_timeout_in_ms),
    enableRestCors: flags.rest_api_enable_cors_support,
    maxGrpcThreads: flags.grpc_max_threads,
    enableHealthService: flags.enable_grpc_healthcheck_service,
    enableSignatureMethodNameCheck: flags.enable_signature_method_name_check,
    enableSerializationAsTensorContent: flags.enable_serialization_as_tensor_content,
  };
}

async function modelOptionsFrom(flags: ServerFlags): Promise<ModelServerOptions> {
  const { model_config_file: configFile, model_base_path: basePath, model_name: name } = flags;
  const { models, loadServable } = flags.servable === "" ? {} : await moduleOf(flags.servable);
  if (configFile === "" && basePath === "" && models === undefined) {
    throw refusal("INVALID_ARGUMENT", "Both server_options.model_base_path and server_options.model_config_file are empty!");
  }
  // Nobody else loads folders: a further attempt would end as the first one.
  const maxLoadRetries = loadServable === undefined ? 0 : flags.max_num_load_retries;
  const loading = { loadServable, maxLoadRetries };
  if (configFile !== "") return { ...loading, models, modelConfigFile: configFile };
  return { ...loading, models: basePath === "" ? models : { [name]: basePath, ...models } };
}

/** What the module of `--servable` has as its default export; models are checked by the server. */
async function moduleOf(path: string): Promise<{ readonly models?: ModelMap; readonly loadServable?: LoadServable }> {
  const { default: served } = (await import(pathToFileURL(resolve(path)).href)) as { readonly default?: unknown };
  if (typeof served === "function") return { loadServable: served as LoadServable };
  if (typeof served === "object" && served !== null) return { models: served as ModelMap };
  throw new TypeError(`${path}: expected a function loadServable or a record of models as default export, got ${String(served)}`);
}

async function batchingFrom(flags: ServerFlags): Promise<BatchingParameters | undefined> {
  const { enable_batching: isEnabled, batching_parameters_file: file } = flags;
  if (isEnabled) return file === "" ? {} : messageInFile(file, parseBatchingParameters);
  if (file === "") return undefined;
  const fault = "server_options.batching_parameters_file is set without setting server_options.enable_batching to true.";
  throw refusal("INVALID_ARGUMENT", fault);
}
