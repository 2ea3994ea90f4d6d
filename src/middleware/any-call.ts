/** One call as middleware sees it that treats all methods alike. */
import type { ModelSpec } from "../model-spec.js";
import type { TensorMap, Transport, TransportCallOptions, TransportPredictOptions } from "../transport/transport.js";

/** A call that is on its way through the middleware. */
export interface AnyCall<Result = unknown> {
  /** Which method of the transport was called. */
  readonly method: Exclude<keyof Transport, "needsSignature" | "close">;
  /** The model it is about; absent where it is about none. */
  readonly spec: ModelSpec | undefined;
  /** Those of the method; what only others take is absent. */
  readonly options: TransportPredictOptions;
  /** What a predict call sends. */
  readonly inputs?: TensorMap;
  /** Make the call on a transport, with other limits where they are given. */
  send(to: Transport, limits?: AttemptLimits): Promise<Result>;
}

/** What one attempt changes in the options of its call. */
export type AttemptLimits = Partial<Pick<TransportCallOptions, "deadline" | "avoid">>;

/** What is done with every call of a transport. */
export type RunCall = <Result>(call: AnyCall<Result>) => Promise<Result>;

/** What a transport has beside its calls. */
export type TransportBase = Pick<Transport, "needsSignature" | "close">;

/** A transport whose calls, of whatever method, go through one function. */
export function transportOf(run: RunCall, base: TransportBase): Transport {
  return {
    needsSignature: base.needsSignature === true,
    predict: (spec, inputs, options) =>
      run({ method: "predict", spec, options, inputs, send: (to, limits) => to.predict(spec, inputs, merged(options, limits)) }),
    classify: (spec, examples, options) =>
      run({ method: "classify", spec, options, send: (to, limits) => to.classify(spec, examples, merged(options, limits)) }),
    regress: (spec, examples, options) =>
      run({ method: "regress", spec, options, send: (to, limits) => to.regress(spec, examples, merged(options, limits)) }),
    multiInference: (tasks, examples, options) =>
      run({
        method: "multiInference",
        spec: tasks[0]?.spec,
        options,
        send: (to, limits) => to.multiInference(tasks, examples, merged(options, limits)),
      }),
    getModelMetadata: (spec, options) =>
      run({ method: "getModelMetadata", spec, options, send: (to, limits) => to.getModelMetadata(spec, merged(options, limits)) }),
    getModelStatus: (spec, options) =>
      run({ method: "getModelStatus", spec, options, send: (to, limits) => to.getModelStatus(spec, merged(options, limits)) }),
    reloadConfig: (config, options) =>
      run({ method: "reloadConfig", spec: undefined, options, send: (to, limits) => to.reloadConfig(config, merged(options, limits)) }),
    close: () => base.close(),
  };
}

/** The caller's options; a spread costs a microsecond, so only where there is something to change. */
function merged<Options extends TransportCallOptions>(options: Options, limits: AttemptLimits | undefined): Options {
  return limits === undefined ? options : { ...options, ...limits };
}
