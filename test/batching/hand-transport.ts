/** A batching transport over one whose calls settle by hand. */
import { withBatching } from "../../src/batching/batching-transport.js";
import { RpcError, type StatusCode } from "../../src/errors.js";
import { type AnyCall, transportOf } from "../../src/middleware/any-call.js";
import type { ModelSpec } from "../../src/model-spec.js";
import { type AnyTensor, type Tensor, tensor } from "../../src/tensor/tensor.js";
import type {
  BatchEvent,
  BatchingOptions,
  PredictResult,
  TensorMap,
  Transport,
  TransportPredictOptions,
} from "../../src/transport/transport.js";
import { settled } from "./virtual-schedule.js";

/** A request that reached the transport below. */
export interface SentRequest {
  readonly spec: ModelSpec;
  readonly inputs: TensorMap;
  readonly options: TransportPredictOptions;
  /** Answer with these outputs, or with `y`: ten times `x`. */
  answer(outputs?: Record<string, AnyTensor>): void;
  fail(error: unknown): void;
}

/** An error as the server sends it. */
export function serverError(code: StatusCode, serverMessage = "refused"): RpcError {
  return new RpcError({ code, method: "predict", endpoint: "h:8500", transport: "grpc", serverMessage });
}

/** A float32 column, one value a row. */
export const column = (...values: number[]): Tensor<"float32"> => tensor("float32", [values.length, 1], values);

const tenfold = ({ shape, values }: AnyTensor): AnyTensor =>
  tensor(
    "float32",
    shape,
    Array.from(values as Float32Array, (value) => 10 * value),
  );

/** The values of `y` in a result. */
export const answerOf = ({ outputs }: PredictResult): number[] => [...(outputs["y"] as Tensor<"float32">).values];

/** A transport that notes what it is sent, and keeps to the signal as all do. */
function noting(sent: SentRequest[]): Transport {
  const note = <Result>({ spec = { name: "" }, inputs = {}, options }: AnyCall<Result>) =>
    new Promise<Result>((resolve, reject) => {
      const { signal } = options;
      signal?.addEventListener("abort", () => reject(signal.reason));
      const answer = (outputs: Record<string, AnyTensor> = { y: tenfold(inputs["x"] as AnyTensor) }) => {
        const modelSpec = { name: spec.name, version: 7n, signatureName: "serving_default" };
        // Only predict is called.
        resolve({ outputs: Object.assign(Object.create(null), outputs), modelSpec } as Result);
      };
      sent.push({ spec, inputs, options, answer, fail: reject });
    });
  return transportOf(note, { close: async () => undefined });
}

/** Calls with the same batching, what is sent for them, and what is told of it. Time is that of the test's timers. */
export function batchingByHand(batching: BatchingOptions = {}) {
  const sent: SentRequest[] = [];
  const events: BatchEvent[] = [];
  const batch: BatchingOptions = { onBatch: (event) => void events.push(event), ...batching };
  const transport = withBatching(noting(sent), { endpoint: "h:8500", transport: "grpc" });
  const requests = async (): Promise<SentRequest[]> => {
    // The end of a batch lets the next one go with the events after it.
    await settled();
    await settled();
    return sent.splice(0);
  };
  return {
    transport,
    events,
    /** The requests sent since the last look, once the events at hand are dealt with. */
    requests,
    /** The values of `x` in these requests. */
    async columns(): Promise<number[][]> {
      return (await requests()).map(({ inputs }) => [...(inputs["x"] as Tensor<"float32">).values]);
    },
    /** Call a model with a column, or other inputs. */
    call(x: readonly number[] | TensorMap, options: Partial<TransportPredictOptions> = {}, spec: ModelSpec = { name: "m" }) {
      const inputs: TensorMap = Array.isArray(x) ? { x: column(...x) } : (x as TensorMap);
      const outcome = transport.predict(spec, inputs, { deadline: performance.now() + 600_000, batch, ...options });
      // Calls that nobody asks about may fail.
      outcome.catch(() => undefined);
      return outcome;
    },
  };
}
