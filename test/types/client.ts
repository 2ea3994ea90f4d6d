/** Compile-time expectations of the client's types; checked by `tsc`, never run. */
import {
  type AnyTensor,
  type EndpointStatus,
  isServingError,
  type PredictInputs,
  PredictionClient,
  type PredictManyError,
  type PredictManyResult,
  type PredictResult,
  type Transport,
  tensor,
} from "../../src/index.js";

/** Holds if both types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(_: Same<A, B>): void => undefined;

declare const transport: Transport;

export async function predictManyTypes(client: PredictionClient, items: AsyncIterable<PredictInputs>): Promise<void> {
  for await (const item of client.predictMany("m", [1, ["a"], { x: 1n }])) same<typeof item, PredictManyResult>(true);
  for await (const item of client.predictMany("m", items, { concurrency: 1, batchRows: 2, ordered: false, startIndex: 3, timeoutMs: 4 })) {
    same<typeof item.result, PredictResult>(true);
  }
  for await (const item of client.predictMany("m", items, { onError: "yield" })) {
    // @ts-expect-error an error may stand in its place
    void item.result;
    same<typeof item, PredictManyResult | PredictManyError>(true);
  }
  // @ts-expect-error one item
  client.predictMany("m", 3);
  // @ts-expect-error dates are no tensors
  client.predictMany("m", [new Date()]);
  // @ts-expect-error items share requests as batchRows says
  client.predictMany("m", items, { batch: false });
  // @ts-expect-error no such policy
  client.predictMany("m", items, { onError: "ignore" });
}

export async function clientTypes(): Promise<void> {
  const client = new PredictionClient("localhost", 8500, {
    transport: "rest",
    timeoutMs: 1,
    metadata: { a: ["b"] },
    restFormat: "row",
    check: false,
    maxResponseBytes: 1,
    middleware: [(next) => ({ ...next, close: () => next.close() })],
    authority: "models.example",
    keepaliveMs: 1,
    retry: false,
  });
  new PredictionClient("localhost:8500", { retry: { maxRetries: 1, attemptTimeoutMs: 1, initialBackoffMs: 1, maxBackoffMs: 1 } });
  new PredictionClient("localhost:8500", { concurrency: { maxInFlight: 1, maxQueued: 0, queueTimeoutMs: 1 } });
  new PredictionClient("localhost:8500", { batching: { maxBatchRows: 8, allowedBatchRows: [8], onBatch: ({ rows }) => void rows } });
  // @ts-expect-error retrying cannot be switched on for a call
  void client.predict("m", 1, { retry: {} });
  // @ts-expect-error a typo
  new PredictionClient("localhost:8500", { timeout: 1 });
  new PredictionClient("localhost:8500", { metadata: async () => ({ authorization: "token" }) });
  new PredictionClient(transport);
  // @ts-expect-error a port is a number
  new PredictionClient("localhost", "8500");
  const replicas = new PredictionClient(["a:8500", "b:8500"]);
  same<ReturnType<typeof replicas.endpoints>, readonly EndpointStatus[]>(true);
  // @ts-expect-error a port goes only with a host
  new PredictionClient(["a", "b"], 8500);
  // @ts-expect-error no such protocol
  new PredictionClient("localhost", 8500, { transport: "http" });
  // @ts-expect-error not a Transport
  new PredictionClient({ predict: () => undefined });

  const x = tensor("float32", [1], [1]);
  const result = await client.predict("m", { x });
  same<typeof result, PredictResult>(true);
  same<typeof result.outputs, Record<string, AnyTensor>>(true);
  same<typeof result.modelSpec.version, bigint | undefined>(true);

  await client.predict({ name: "m", version: 1n, signatureName: "s" }, { x, y: 1, z: ["a", new Uint8Array()] });
  await client.predict({ name: "m", versionLabel: "stable" }, x, { outputFilter: ["y"], signal: new AbortController().signal });
  await client.predict("m", new Float32Array(3));
  await client.predict("m", [[new Float32Array(3)]]);
  await client.predict("m", 1n);
  // @ts-expect-error version and label exclude each other
  await client.predict({ name: "m", version: 1, versionLabel: "stable" }, x);
  // @ts-expect-error inputs are not optional
  await client.predict("m");
  // @ts-expect-error dates are no tensors
  await client.predict("m", { x: new Date() });
  await client.predict("m", x, { retry: false, batch: false });
  await client.getModelStatus("m", { retry: false });
  // @ts-expect-error how calls share requests is the client's to say
  await client.predict("m", x, { batch: true });
  // @ts-expect-error no such layout
  await client.predict("m", x, { restFormat: "rows" });

  const y = result.outputs.y;
  if (y?.dtype === "int64") same<typeof y.values, BigInt64Array>(true);

  const [status] = await client.getModelStatus("m");
  same<NonNullable<typeof status>["version"], bigint>(true);
  const metadata = await client.getModelMetadata("m", { timeoutMs: 1 });
  const shape = metadata.signatures.serving_default?.inputs.x?.shape;
  same<typeof shape, readonly (number | null)[] | null | undefined>(true);
  await client.close({ force: true });
  same<ReturnType<(typeof client)[typeof Symbol.asyncDispose]>, Promise<void>>(true);

  const caught: unknown = undefined;
  if (isServingError(caught, "SignatureError")) same<typeof caught.differences, readonly string[]>(true);
}
