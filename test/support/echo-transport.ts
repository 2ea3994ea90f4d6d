/** An own transport for tests of the client: it echoes, and notes what it is asked. */
import { RpcError, type StatusCode } from "../../src/errors.js";
import type { Example } from "../../src/example-codec.js";
import type { ModelServerConfig } from "../../src/model-server-config.js";
import type { ModelSpec } from "../../src/model-spec.js";
import type { Signature } from "../../src/signature.js";
import type {
  ClassifyResult,
  InferenceTask,
  ModelMetadata,
  ModelVersionStatus,
  MultiInferenceResult,
  PredictResult,
  RegressResult,
  TensorMap,
  Transport,
  TransportCallOptions,
  TransportExampleOptions,
  TransportPredictOptions,
} from "../../src/transport/transport.js";

/** A signature of one vector in and out. */
export const vectorSignature = (dtype: "float32" | "int32"): Signature => ({
  methodName: "tensorflow/serving/predict",
  inputs: { x: { dtype, shape: [null] } },
  outputs: { y: { dtype, shape: [null] } },
});

/** An own transport that echoes, notes what it is asked, and serves one model whose version and signatures tests may change. */
export class EchoTransport implements Transport {
  readonly needsSignature: boolean;
  version = 1n;
  signatures: Record<string, Signature> = { serving_default: vectorSignature("float32") };
  refusal: StatusCode | undefined;
  /** Calls of predict wait for it. */
  gate: Promise<void> | undefined;
  readonly predicts: { inputs: TensorMap; options: TransportPredictOptions }[] = [];
  readonly inferences: { about: unknown; examples: readonly Example[]; options: TransportExampleOptions }[] = [];
  readonly statusCalls: TransportCallOptions[] = [];
  readonly reloads: ModelServerConfig[] = [];
  /** Answers of getModelStatus, in turn. */
  statuses: ModelVersionStatus[][] = [];
  reloadError: RpcError | undefined;
  lookUps = 0;
  closed = 0;

  constructor(needsSignature = false) {
    this.needsSignature = needsSignature;
  }

  async predict(spec: ModelSpec, inputs: TensorMap, options: TransportPredictOptions): Promise<PredictResult> {
    this.predicts.push({ inputs, options });
    await this.gate;
    if (this.refusal !== undefined) {
      throw new RpcError({
        code: this.refusal,
        method: "predict",
        modelSpec: spec,
        endpoint: "here",
        transport: "echo",
        serverMessage: "refused",
        cause: "why",
      });
    }
    return { outputs: { ...inputs }, modelSpec: { name: spec.name, version: this.version, signatureName: "serving_default" } };
  }

  async getModelMetadata(spec: ModelSpec, _options: TransportCallOptions): Promise<ModelMetadata> {
    this.lookUps++;
    return { modelSpec: { name: spec.name, version: this.version }, signatures: this.signatures };
  }

  async getModelStatus(_spec: ModelSpec, options: TransportCallOptions): Promise<ModelVersionStatus[]> {
    this.statusCalls.push(options);
    return this.statuses.shift() ?? [];
  }

  async classify(spec: ModelSpec, examples: readonly Example[], options: TransportExampleOptions): Promise<ClassifyResult> {
    this.inferences.push({ about: spec, examples, options });
    return { results: [[{ label: "a", score: 0.5 }]], modelSpec: { name: spec.name, signatureName: "serving_default" } };
  }

  async regress(spec: ModelSpec, examples: readonly Example[], options: TransportExampleOptions): Promise<RegressResult> {
    this.inferences.push({ about: spec, examples, options });
    return { results: [1.5], modelSpec: { name: spec.name, signatureName: "serving_default" } };
  }

  async multiInference(
    tasks: readonly InferenceTask[],
    examples: readonly Example[],
    options: TransportExampleOptions,
  ): Promise<MultiInferenceResult> {
    this.inferences.push({ about: tasks, examples, options });
    return { results: [] };
  }

  async reloadConfig(config: ModelServerConfig): Promise<void> {
    this.reloads.push(config);
    if (this.reloadError !== undefined) throw this.reloadError;
  }

  async close(): Promise<void> {
    this.closed++;
  }
}
