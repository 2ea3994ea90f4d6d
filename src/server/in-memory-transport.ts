/** A Transport over servables without sockets: the embedded server's checks and answers, for tests. */
import { atDeadline, minRemainingMs, onAbort, passedBeforeAnswer, passedBeforeSending, untilAborted } from "../deadline.js";
import { metadataFailure } from "../error-hints.js";
import { type ErrorSubject, formatCall, isServingError, RpcError, ServingError, type StatusCode } from "../errors.js";
import { decodeExample, type Example, encodeExample } from "../example-codec.js";
import { inferenceMethodNames } from "../inference-messages.js";
import type { ModelServerConfig } from "../model-server-config.js";
import type { ModelSpec } from "../model-spec.js";
import { assertOptionNames } from "../option-checks.js";
import type {
  CallMetadata,
  InferenceTask,
  TensorMap,
  Transport,
  TransportCallOptions,
  TransportExampleOptions,
  TransportPredictOptions,
} from "../transport/transport.js";
import { classify, multiInference, regress, type SentExamples } from "./inference-service.js";
import type { LoadServable } from "./load-version.js";
import { ModelManager, type SetVersionState } from "./model-manager.js";
import type { ModelMap, VersionLabels } from "./model-map.js";
import { copyTensor, modelMetadata, predict } from "./predict-service.js";

/** Options of {@link createInMemoryTransport}. */
export interface InMemoryTransportOptions {
  /** Versions by label, by model name. @defaultValue no labels */
  readonly versionLabels?: VersionLabels;
  /** Makes servables of version folders that a `reloadConfig` names. @defaultValue they fail to load: `END`, `UNIMPLEMENTED` */
  readonly loadServable?: LoadServable;
}

/** What {@link createInMemoryTransport} makes. */
export interface InMemoryTransport extends Transport {
  /** Puts a version into a state for a test, as {@link SetVersionState} says; calls see it at once. */
  readonly setVersionState: SetVersionState;
}

const name = "in-memory";

/**
 * A Transport that calls servables directly; hand it to `new PredictionClient(transport)`.
 *
 * Inputs and outputs are copied, so neither side sees the other's memory, as over a connection.
 *
 * @throws TypeError or RangeError if the models or labels are malformed, or an option is unknown.
 */
export function createInMemoryTransport(models: ModelMap, options: InMemoryTransportOptions = {}): InMemoryTransport {
  assertOptionNames(options, { known: { versionLabels: true, loadServable: true } });
  const [unloaded] = Object.entries(models).filter(([, model]) => typeof model === "string");
  if (unloaded !== undefined)
    throw new TypeError(`model "${unloaded[0]}": expected a servable, got a base path; startModelServer takes those`);
  // Reloads look at their folders at once: between them nothing runs.
  const manager = new ModelManager({ ...options, models, fileSystemPollMs: 0 });
  const closing = new AbortController();

  async function call<T>(
    method: string,
    modelSpec: ModelSpec | undefined,
    callOptions: TransportCallOptions,
    answer: () => T | Promise<T>,
  ): Promise<T> {
    const fail = (code: StatusCode, serverMessage: string, cause?: unknown) =>
      new RpcError({ code, method, modelSpec, endpoint: name, transport: name, serverMessage, cause });
    const { signal, deadline, metadata } = callOptions;
    signal?.throwIfAborted();
    if (closing.signal.aborted) throw fail("CANCELLED", "the transport is closed");
    if (deadline - performance.now() < minRemainingMs) throw fail("DEADLINE_EXCEEDED", passedBeforeSending);
    let isSent = false;
    const answered = async () => {
      // Nobody reads the metadata here, but a function that fails has to fail the call as it does elsewhere.
      if (typeof metadata === "function") await ask(metadata, { method, modelSpec });
      isSent = true;
      try {
        return await answer();
      } catch (error) {
        throw isServingError(error) ? fail(error.code, error.message, error.cause) : error;
      }
    };
    const stops: (() => void)[] = [];
    try {
      return await untilAborted<T>(signal, (resolve, reject) => {
        stops.push(
          atDeadline(deadline, () => reject(fail("DEADLINE_EXCEEDED", isSent ? passedBeforeAnswer : passedBeforeSending))),
          onAbort(closing.signal, () => reject(fail("CANCELLED", "the transport was closed"))),
        );
        answered().then(resolve, reject);
        return () => undefined;
      });
    } finally {
      for (const stop of stops) stop();
    }
  }

  return {
    predict: (spec: ModelSpec, inputs: TensorMap, options: TransportPredictOptions) =>
      call("predict", spec, options, async () => {
        const sent = copyTensors(inputs);
        const { outputFilter = [], deadline } = options;
        // Only names that were sent are decoded.
        const decode = (input: string) => sent[input] as (typeof sent)[string];
        const result = await predict(manager, spec, { names: Object.keys(sent), decode }, { outputFilter, deadline });
        return { ...result, outputs: copyTensors(result.outputs) };
      }),
    classify: (spec: ModelSpec, examples: readonly Example[], options: TransportExampleOptions) =>
      call("classify", spec, options, () => classify(manager, spec, sentExamples(examples, options))),
    regress: (spec: ModelSpec, examples: readonly Example[], options: TransportExampleOptions) =>
      call("regress", spec, options, () => regress(manager, spec, sentExamples(examples, options))),
    multiInference: (tasks: readonly InferenceTask[], examples: readonly Example[], options: TransportExampleOptions) =>
      call("multiInference", tasks[0]?.spec, options, () => {
        const asked = tasks.map(({ spec, method }) => ({ spec, methodName: inferenceMethodNames[method] }));
        return multiInference(manager, asked, sentExamples(examples, options));
      }),
    getModelMetadata: (spec: ModelSpec, options: TransportCallOptions) =>
      call("getModelMetadata", spec, options, () => modelMetadata(manager, spec)),
    getModelStatus: (spec: ModelSpec, options: TransportCallOptions) => call("getModelStatus", spec, options, () => manager.statuses(spec)),
    reloadConfig: (config: ModelServerConfig, options: TransportCallOptions) =>
      call("reloadConfig", undefined, options, () => manager.reload(config)),
    setVersionState: (model, version, state, error) => manager.setVersionState(model, version, state, error),
    close: async () => {
      closing.abort();
      manager.close();
    },
  };
}

async function ask(metadata: () => Promise<CallMetadata>, { method, modelSpec }: ErrorSubject): Promise<void> {
  try {
    await metadata();
  } catch (cause) {
    const { code, text, hint } = metadataFailure(cause);
    throw new ServingError(`${code}: ${formatCall(method, modelSpec)}: ${text}`, { code, hint, cause });
  }
}

/** Examples with memory of their own: through the bytes, as over a connection. */
function sentExamples(examples: readonly Example[], { context, deadline }: TransportExampleOptions): SentExamples {
  const copy = (example: Example, what: string) => decodeExample(encodeExample(example), what);
  return {
    examples: examples.map((example, index) => copy(example, `examples[${index}]`)),
    ...(context === undefined ? {} : { context: copy(context, "context") }),
    deadline,
  };
}

function copyTensors(tensors: TensorMap): Record<string, TensorMap[string]> {
  const copies: Record<string, TensorMap[string]> = Object.create(null);
  for (const [key, value] of Object.entries(tensors)) copies[key] = copyTensor(value);
  return copies;
}
