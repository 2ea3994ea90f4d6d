/** A Transport over servables without sockets: the embedded server's checks and answers, for tests. */
import { setMaxListeners } from "node:events";
import { isServingError, RpcError, type StatusCode } from "../errors.js";
import type { ModelSpec } from "../model-spec.js";
import type {
  ModelMetadata,
  ModelVersionStatus,
  PredictResult,
  TensorMap,
  Transport,
  TransportCallOptions,
  TransportPredictOptions,
} from "../transport/transport.js";
import { ModelManager, type ModelMap, type VersionLabels } from "./model-manager.js";
import { copyTensor, modelMetadata, predict } from "./predict-service.js";

/** Options of {@link createInMemoryTransport}. */
export interface InMemoryTransportOptions {
  /** Versions by label, by model name. @defaultValue no labels */
  readonly versionLabels?: VersionLabels;
}

const name = "in-memory";

/** With less time than this a call fails without being sent, as over gRPC. */
const minRemainingMs = 2;

/** Longest delay of a timer; a deadline further away needs none. */
const maxTimerMs = 2 ** 31 - 1;

/**
 * A Transport that calls servables directly; hand it to `new PredictionClient(transport)`.
 *
 * Inputs and outputs are copied, so neither side sees the other's memory, as over a connection.
 *
 * @throws TypeError or RangeError if the models or labels are malformed.
 */
export function createInMemoryTransport(models: ModelMap, options: InMemoryTransportOptions = {}): Transport {
  const manager = new ModelManager(models, options.versionLabels);
  const closing = new AbortController();
  // Every running call listens; Node warns above 10 otherwise.
  setMaxListeners(0, closing.signal);

  async function call<T>(
    method: string,
    modelSpec: ModelSpec,
    callOptions: TransportCallOptions,
    answer: () => T | Promise<T>,
  ): Promise<T> {
    const fail = (code: StatusCode, serverMessage: string, cause?: unknown) =>
      new RpcError({ code, method, modelSpec, endpoint: name, transport: name, serverMessage, cause });
    const { signal, deadline, metadata } = callOptions;
    signal?.throwIfAborted();
    if (closing.signal.aborted) throw fail("CANCELLED", "the transport is closed");
    const remainingMs = deadline - performance.now();
    if (remainingMs < minRemainingMs) throw fail("DEADLINE_EXCEEDED", "no time left to send the call");
    const over = new AbortController();
    const ended = new Promise<never>((_resolve, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason), { signal: over.signal });
      closing.signal.addEventListener("abort", () => reject(fail("CANCELLED", "the transport was closed")), { signal: over.signal });
      if (remainingMs > maxTimerMs) return;
      const timer = setTimeout(() => reject(fail("DEADLINE_EXCEEDED", "Deadline exceeded")), remainingMs);
      over.signal.addEventListener("abort", () => clearTimeout(timer));
    });
    const answered = async () => {
      // Nobody reads the metadata here, but a function that fails has to fail the call as it does elsewhere.
      if (typeof metadata === "function") await metadata();
      try {
        return await answer();
      } catch (error) {
        throw isServingError(error) ? fail(error.code, error.message, error.cause) : error;
      }
    };
    try {
      return await Promise.race([ended, answered()]);
    } finally {
      over.abort();
    }
  }

  return {
    predict: (spec: ModelSpec, inputs: TensorMap, options: TransportPredictOptions): Promise<PredictResult> =>
      call("predict", spec, options, async () => {
        const sent = copyTensors(inputs);
        const { outputFilter = [], deadline } = options;
        // Only names that were sent are decoded.
        const decode = (input: string) => sent[input] as (typeof sent)[string];
        const result = await predict(manager, spec, { names: Object.keys(sent), decode }, { outputFilter, deadline });
        return { ...result, outputs: copyTensors(result.outputs) };
      }),
    getModelMetadata: (spec: ModelSpec, options: TransportCallOptions): Promise<ModelMetadata> =>
      call("getModelMetadata", spec, options, () => modelMetadata(manager, spec)),
    getModelStatus: (spec: ModelSpec, options: TransportCallOptions): Promise<ModelVersionStatus[]> =>
      call("getModelStatus", spec, options, () => manager.statuses(spec)),
    close: async () => closing.abort(),
  };
}

function copyTensors(tensors: TensorMap): Record<string, TensorMap[string]> {
  const copies: Record<string, TensorMap[string]> = Object.create(null);
  for (const [key, value] of Object.entries(tensors)) copies[key] = copyTensor(value);
  return copies;
}
