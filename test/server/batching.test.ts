import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { Client, credentials } from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import { PredictRequest } from "../../gen/tensorflow_serving/apis/predict.js";
import { PredictionClient } from "../../src/client/prediction-client.js";
import { type BatchingParameters, parseBatchingParameters } from "../../src/config/batching-parameters.js";
import { tensorFromProto } from "../../src/messages.js";
import { Batching, type BatchingEvent } from "../../src/server/batching.js";
import { servable, startModelServer } from "../../src/server/index.js";
import { LoadedServable } from "../../src/server/served-model.js";
import type { Signature } from "../../src/signature.js";
import { type AnyTensor, tensor } from "../../src/tensor/tensor.js";
import type { TensorMap } from "../../src/transport/transport.js";
import { VirtualSchedule } from "../batching/virtual-schedule.js";
import { halfPlusTwo } from "./golden-models.js";
import { rawGrpc } from "./raw-grpc.js";

interface Recorded {
  readonly id: string;
  readonly server?: { readonly batching_parameters?: string };
  readonly request: {
    readonly method: string;
    readonly bytes?: string;
    readonly together?: readonly { readonly bytes: string }[];
    readonly batching_parameters?: string;
  };
  readonly response: {
    readonly code: string;
    readonly message?: string;
    readonly text?: string;
    readonly sample?: { readonly message: string };
    readonly each?: readonly { readonly code: string; readonly message: string }[];
  };
}

const path = new URL("../fixtures/golden/batching.json", import.meta.url);
const recordings = (JSON.parse(readFileSync(path, "utf8")) as { exchanges: Recorded[] }).exchanges;

function recorded(id: string): Recorded {
  const found = recordings.find((exchange) => exchange.id === `batching/${id}`);
  if (found === undefined) throw new Error(`there is no recording batching/${id}`);
  return found;
}

const parametersOf = (id: string) => parseBatchingParameters(recorded(id).server?.batching_parameters ?? "");

const signature: Signature = {
  methodName: "",
  inputs: { x: { dtype: "float32", shape: null, tensorName: "float_x:0" } },
  outputs: { y: { dtype: "float32", shape: null } },
};

/** Batching whose time stands still, of a model that doubles what it gets when the test lets it. */
class Batched {
  readonly clock = new VirtualSchedule();
  readonly events: BatchingEvent[] = [];
  readonly runs: { readonly x: AnyTensor; readonly deadline: number; end(outputs?: TensorMap): void; fail(error: Error): void }[] = [];
  readonly batching: Batching;
  readonly #loaded = new LoadedServable(halfPlusTwo);

  constructor(parameters: BatchingParameters) {
    this.batching = new Batching(parameters, this.clock, (event) => this.events.push(event));
  }

  /** @returns The answered rows, or code and text. */
  ask(inputs: TensorMap, { outputs = ["y"], deadline = Number.POSITIVE_INFINITY } = {}): Promise<string> {
    const request = { loaded: this.#loaded, signatureName: "float", signature, inputs, outputs, deadline };
    const runModel = (given: TensorMap, until: number) =>
      new Promise<Record<string, AnyTensor>>((resolve, reject) => {
        const x = given["x"] as AnyTensor;
        const doubled = () => ({
          y: tensor(
            "float32",
            x.shape,
            (x.as("float32").values as Float32Array).map((value) => value * 2),
          ),
        });
        this.runs.push({ x, deadline: until, end: (answer) => resolve({ ...(answer ?? doubled()) }), fail: reject });
      });
    // What is wrong with a request alone is thrown before it waits.
    const run = async () => this.batching.run(request, runModel);
    return run().then(
      ({ y }) => `[${y?.shape}] ${y?.values.join()}`,
      (error: { code: string; message: string }) => `${error.code}: ${error.message}`,
    );
  }
}

const rows = (...values: number[]) => ({ x: tensor("float32", [values.length], values) });
const settledIn = (milliseconds: number, { clock }: Batched) => {
  clock.advance(milliseconds);
};

describe("server-side batching", () => {
  it("runs what comes in the time limit together, padded with the last request's first row", async () => {
    const batched = new Batched(parametersOf("merged"));
    const answers = [batched.ask(rows(1)), batched.ask(rows(2, 3))];
    settledIn(19, batched);
    expect(batched.runs).toHaveLength(0);
    settledIn(1, batched);
    expect(batched.runs.map(({ x }) => [...x.values])).toEqual([[1, 2, 3, 2]]);
    batched.runs[0]?.end();
    expect(await Promise.all(answers)).toEqual(["[1] 2", "[2] 4,6"]);
    expect(batched.events).toEqual([
      { kind: "request", rows: 1, inputs: 1 },
      { kind: "request", rows: 2, inputs: 1 },
      { kind: "run", rows: 3, paddedRows: 4, queuedMs: [20, 20] },
    ]);
    expect(batched.clock.timerCount).toBe(0);
  });

  it("runs a full batch at once, and as many batches as there are threads", async () => {
    const batched = new Batched({ maxBatchSize: 2, batchTimeoutMicros: 1_000_000, numBatchThreads: 2 });
    const answers = [batched.ask(rows(1, 2)), batched.ask(rows(3, 4)), batched.ask(rows(5, 6))];
    expect(batched.runs).toHaveLength(2);
    batched.runs[1]?.end();
    await answers[1];
    await expect.poll(() => batched.runs.length).toBe(3);
    batched.runs[0]?.end();
    batched.runs[2]?.end();
    expect(await Promise.all(answers)).toEqual(["[2] 2,4", "[2] 6,8", "[2] 10,12"]);
  });

  it("gives every queue its turn", async () => {
    const batched = new Batched({ maxBatchSize: 1, numBatchThreads: 1 });
    void batched.ask(rows(1));
    void batched.ask(rows(2));
    void batched.ask(rows(3));
    void batched.ask({ ...rows(9), z: tensor("float32", [1], [0]) });
    for (const count of [1, 2, 3, 4]) {
      await expect.poll(() => batched.runs.length).toBe(count);
      batched.runs[count - 1]?.end();
    }
    expect(batched.runs.map(({ x }) => x.values[0])).toEqual([1, 2, 9, 3]);
  });

  it("refuses what finds the queue full", async () => {
    const batched = new Batched(parametersOf("queue_full"));
    const answers = Array.from({ length: 5 }, () => batched.ask(rows(1, 2, 3, 4)));
    const refused = `UNAVAILABLE: ${recorded("queue_full").response.sample?.message}`;
    expect(await Promise.all(answers.slice(3))).toEqual([refused, refused]);
  });

  it("splits large requests where it may, as far as the queue has room", async () => {
    const batched = new Batched({ ...parametersOf("split_eight"), allowedBatchSizes: [] });
    const answer = batched.ask(rows(1, 2, 3, 4, 5, 6, 7, 8));
    expect(await batched.ask(rows(1, 2, 3, 4, 5, 6, 7, 8, 9))).toBe(`INVALID_ARGUMENT: ${recorded("split_nine").response.message}`);
    expect(await batched.ask(rows(1, 2, 3, 4, 5))).toBe(
      "UNAVAILABLE: The batch scheduling queue to which this task was submitted is full; task size is 5 but scheduling capacity is only 4 " +
        "(num_enqueued_batches=1, max_enqueued_batches=2, open_batch_size=4, max_execution_batch_size=4)",
    );
    for (const count of [1, 2]) {
      await expect.poll(() => batched.runs.length).toBe(count);
      batched.runs[count - 1]?.end();
    }
    expect(batched.runs.map(({ x }) => [...x.values])).toEqual([
      [1, 2, 3, 4],
      [5, 6, 7, 8],
    ]);
    expect(await answer).toBe("[8] 2,4,6,8,10,12,14,16");
  });

  it("refuses a split request whose parts are answered in different widths", async () => {
    const sizes = { maxBatchSize: 4, maxExecutionBatchSize: 2, enableLargeBatchSplitting: true };
    const batched = new Batched({ ...sizes, padVariableLengthInputs: true, batchTimeoutMicros: 20_000 });
    const other = batched.ask({ x: tensor("float32", [1, 5], [1, 2, 3, 4, 5]) });
    const split = batched.ask({ x: tensor("float32", [3, 2], [1, 2, 3, 4, 5, 6]) });
    settledIn(20, batched);
    for (const run of batched.runs) run.end();
    expect(await Promise.all([other, split])).toEqual([
      "[1,5] 2,4,6,8,10",
      'FAILED_PRECONDITION: The parts of a split request have different outputs "y": float32 [1, 5], float32 [2, 2]',
    ]);
  });

  it("runs batches of more members than a call takes arguments", async () => {
    const count = 130_000;
    const batched = new Batched({ maxBatchSize: count, padVariableLengthInputs: true, batchTimeoutMicros: 20_000 });
    const answers = Array.from({ length: count }, (_, i) => batched.ask({ x: tensor("float32", [1, 1], [i]) }));
    batched.runs[0]?.end();
    expect((await Promise.all(answers)).at(-1)).toBe(`[1,1] ${2 * (count - 1)}`);
  });

  it("lets nothing wait for others once it is flushed, and nothing at all once it is closed", async () => {
    const batched = new Batched({ maxBatchSize: 4, batchTimeoutMicros: 20_000, numBatchThreads: 1 });
    const first = batched.ask(rows(1));
    batched.batching.flush();
    expect([batched.runs.length, batched.clock.timerCount]).toEqual([1, 0]);
    const second = batched.ask(rows(2));
    batched.batching.close();
    expect(await second).toBe("UNAVAILABLE: The server was closed before the request was run");
    batched.runs[0]?.end();
    expect(await first).toBe("[1] 2");
    expect([batched.runs.length, batched.clock.timerCount]).toEqual([1, 0]);
  });

  it("fails all requests of a batch for one, by shapes that differ", async () => {
    const batched = new Batched(parametersOf("shapes_differ"));
    const answers = [batched.ask({ x: tensor("float32", [1, 2], [1, 2]) }), batched.ask({ x: tensor("float32", [1, 3], [1, 2, 3]) })];
    settledIn(20, batched);
    const text = recorded("shapes_differ").response.each?.[0];
    expect(await Promise.all(answers)).toEqual([`${text?.code}: ${text?.message}`, `${text?.code}: ${text?.message}`]);
  });

  it("fails all requests of a batch that fails", async () => {
    const batched = new Batched({ maxBatchSize: 2, batchTimeoutMicros: 1_000_000 });
    const answers = [batched.ask(rows(1)), batched.ask(rows(2))];
    batched.runs[0]?.fail(Object.assign(new Error("no"), { code: "INTERNAL" }));
    expect(await Promise.all(answers)).toEqual(["INTERNAL: no", "INTERNAL: no"]);
  });

  it("pads inputs of unequal shape where it may, with the first value of each", async () => {
    const batched = new Batched(parametersOf("padded_shapes"));
    const sent = (recorded("padded_shapes").request.together ?? []).map(({ bytes }) => {
      const { x } = PredictRequest.decode(Buffer.from(bytes, "base64")).inputs;
      return { x: tensorFromProto(x as NonNullable<typeof x>, "x") };
    });
    const answers = sent.map((inputs) => batched.ask(inputs));
    settledIn(20, batched);
    batched.runs[0]?.end();
    expect(await Promise.all(answers)).toEqual(["[1,3] 14,16,14", "[1,3] 2,4,6"]);
  });

  it.each<[string, readonly AnyTensor[], string]>([
    ["of rank 3", [tensor("int8", [1, 1, 3], [1, 2, 3]), tensor("int8", [1, 2, 1], [4, 5])], "[2,2,3] 1,2,3,1,1,1,4,4,4,5,4,4"],
    ["of strings", [tensor("string", [1, 1], ["a"]), tensor("string", [1, 2], ["b", "c"])], "[2,2] 97,97,98,99"],
    [
      "of complex numbers",
      [tensor("complex64", [1, 1], Float32Array.of(1, 2)), tensor("complex64", [1, 2], Float32Array.of(3, 4, 5, 6))],
      "[2,2] 1,2,1,2,3,4,5,6",
    ],
    ["without elements", [tensor("float32", [1, 0], []), tensor("float32", [1, 1], [7])], "[2,1] 0,7"],
  ])("pads inputs %s", async (_title, inputs, expected) => {
    const batched = new Batched({ maxBatchSize: 2, batchTimeoutMicros: 1_000_000, padVariableLengthInputs: true });
    for (const x of inputs) void batched.ask({ x });
    const { x } = batched.runs[0] as (typeof batched.runs)[number];
    expect(`[${x.shape}] ${x.values.join()}`).toBe(expected);
  });

  it("lets a request wait past its deadline, and fails the batch once the last deadline has passed", async () => {
    const batched = new Batched(parametersOf("queue_timeout_rest"));
    const late = batched.ask(rows(1), { deadline: 200 });
    settledIn(1_000, batched);
    expect(await late).toBe("RESOURCE_EXHAUSTED: Run() timeout exceeded while waiting in batching queue");
    const answers = [batched.ask(rows(1), { deadline: 1_200 }), batched.ask(rows(2), { deadline: 5_000 })];
    settledIn(1_000, batched);
    expect(batched.runs[0]?.deadline).toBe(5_000);
    batched.runs[0]?.end();
    expect(await Promise.all(answers)).toEqual(["[1] 2", "[1] 4"]);
    void batched.ask(rows(1));
    settledIn(1_000, batched);
    expect(batched.runs[1]?.deadline).toBeCloseTo(2_000 + 2_147_483.647);
  });

  it("lets a request without rows wait for others", async () => {
    const batched = new Batched(parametersOf("zero_rows"));
    const empty = batched.ask({ x: tensor("float32", [0], []) }, { deadline: 100 });
    settledIn(100_000, batched);
    expect(batched.runs).toHaveLength(0);
    const other = batched.ask(rows(3));
    settledIn(20, batched);
    batched.runs[0]?.end();
    expect(await Promise.all([empty, other])).toEqual(["[0] ", "[1] 6"]);
  });

  it.each<[string, TensorMap, string]>([
    ["five_rows", rows(1, 2, 3, 4, 5), "five_rows"],
    ["a scalar", { x: tensor("float32", [], [1]) }, "scalar"],
    ["rows that differ", { ...rows(1), y: tensor("float32", [2], [1, 2]) }, "dim0_differs"],
  ])("refuses %s as recorded", async (_title, inputs, id) => {
    const { code, message } = recorded(id).response;
    expect(await new Batched(parametersOf(id)).ask(inputs)).toBe(`${code}: ${message}`);
  });

  it.each([
    ["without rows", tensor("float32", [], [1]), "FAILED_PRECONDITION: Batched output tensor has 0 dimensions"],
    ["with other rows", tensor("float32", [3], [1, 2, 3]), `FAILED_PRECONDITION: ${recorded("scalar_output").response.message}`],
  ])("refuses an output %s", async (_title, y, expected) => {
    const batched = new Batched({ maxBatchSize: 1 });
    const answer = batched.ask(rows(1));
    batched.runs[0]?.end({ y });
    expect(await answer).toBe(expected);
  });

  describe("rejects", () => {
    it("sizes with which the real server loads no model", async () => {
      const { request, response } = recorded("bad_allowed_sizes");
      const batching = parseBatchingParameters(request.batching_parameters ?? "");
      await expect(startModelServer({ batching })).rejects.toMatchObject({ code: "INVALID_ARGUMENT", message: response.text });
    });

    it("an execution size above the largest batch", () => {
      expect(() => new Batched({ maxBatchSize: 2, maxExecutionBatchSize: 3 })).toThrow("expected at most maxBatchSize, 2, got 3");
    });
  });
});

describe("a server with batching", () => {
  it("merges calls that come together and answers each", async () => {
    const { request, response, server } = recorded("merged");
    const sizes: number[] = [];
    const counting = servable({
      signatures: {
        serving_default: { inputs: { x: { dtype: "float32", shape: [null] } }, outputs: { y: { dtype: "float32", shape: [null] } } },
      },
      predict: ({ x }) => {
        sizes.push(x.size);
        return { y: x.values.map((value: number) => value / 2 + 2) };
      },
    });
    const batching = { ...parseBatchingParameters(server?.batching_parameters ?? ""), batchTimeoutMicros: 300_000 };
    const running = await startModelServer({ models: { half_plus_two: { 123: counting } }, batching });
    const client = new Client(running.grpcTarget, credentials.createInsecure());
    const answers = await Promise.all(
      (request.together ?? []).map(({ bytes }) => rawGrpc(client, request.method, Buffer.from(bytes, "base64"))),
    );
    expect(answers.map(({ code }) => code)).toEqual(response.each?.map(({ code }) => code));
    expect(sizes).toEqual([4]);
    client.close();
    await running.close();
  });
});

describe("maxGrpcThreads", () => {
  it("fails calls of any method at once that find all threads but one taken", async () => {
    const server = await startModelServer({ models: { m: halfPlusTwo }, maxGrpcThreads: 3 });
    const client = new Client(server.grpcTarget, credentials.createInsecure());
    const status = () => rawGrpc(client, "/tensorflow.serving.ModelService/GetModelStatus", Buffer.from("CgMKAW0=", "base64"));
    server.pause();
    const held = [status(), status()];
    await expect.poll(() => server.requests.length).toBe(2);
    expect(await status()).toEqual({ code: "RESOURCE_EXHAUSTED", message: "Server Threadpool Exhausted" });
    expect((await fetch(`${server.restTarget}/v1/models/m`, { signal: AbortSignal.timeout(50) }).catch(() => undefined))?.status).toBe(
      undefined,
    );
    server.resume();
    expect((await Promise.all(held)).map(({ code }) => code)).toEqual(["OK", "OK"]);
    expect((await status()).code).toBe("OK");
    client.close();
    await server.close();
  });

  it("counts a call whose deadline has passed until its function ends", async () => {
    let end: () => void = () => undefined;
    const stuck = { ...halfPlusTwo, predict: () => new Promise<{ y: number[] }>((resolve) => (end = () => resolve({ y: [1] }))) };
    const server = await startModelServer({ models: { stuck }, maxGrpcThreads: 2 });
    const client = new PredictionClient(server.grpcTarget, { retry: false });
    await expect(client.predict("stuck", [1], { timeoutMs: 200 })).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    // Longer than the server's own timer could take.
    for (let i = 0; i < 5; i++) {
      await pause(30);
      await expect(client.getModelStatus("stuck")).rejects.toMatchObject({ serverMessage: "Server Threadpool Exhausted" });
    }
    end();
    await expect.poll(() => client.getModelStatus("stuck").then(() => "OK", String)).toBe("OK");
    await client.close();
    await server.close();
  });
});
