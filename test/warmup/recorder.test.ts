import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { PredictionClient } from "../../src/client/prediction-client.js";
import { readSavedModel } from "../../src/saved-model/index.js";
import { type ModelServer, startModelServer } from "../../src/server/index.js";
import { tensor } from "../../src/tensor/tensor.js";
import { createRecorder, type Recorder, type RecorderOptions } from "../../src/warmup/recorder.js";
import { readRecording, replayRecord, warmupRecordsFrom } from "../../src/warmup/recording.js";
import type { CallRecord, WarmupRecord } from "../../src/warmup/warmup-record.js";
import { goldenModels } from "../server/golden-models.js";
import { EchoTransport } from "../support/echo-transport.js";

let server: ModelServer;
beforeAll(async () => {
  server = await startModelServer({ models: goldenModels });
});
afterAll(() => server.close());

let dir: string;
beforeEach(() => {
  dir = join(mkdtempSync(`${tmpdir()}/recorder-`), "recording");
});
afterEach(() => rmSync(join(dir, ".."), { recursive: true }));

const name = "half_plus_two";
const x = (...values: number[]) => tensor("float32", [values.length], values);

/** A recorder of all calls, and a client of the server that it records. */
function recorded(options: Partial<RecorderOptions> = {}, target: EchoTransport | string = server.grpcTarget) {
  const recorder = createRecorder({ dir, sampleRate: 1, ...options });
  const client = new PredictionClient(target as string, { middleware: [recorder] });
  onTestFinished(async () => {
    await client.close();
    await recorder.close();
  });
  return { recorder, client };
}

async function recordsIn(path = dir): Promise<WarmupRecord[]> {
  const records: WarmupRecord[] = [];
  for await (const record of readRecording(path)) records.push(record);
  return records;
}

/** Values of the input x of each record. */
function inputsOf(records: readonly WarmupRecord[]): number[][] {
  return records.map((record) => (record.kind === "predict" ? Array.from(record.inputs["x"]?.as("float32").values ?? []) : []));
}

describe("createRecorder", () => {
  it("records calls of every kind with their answers, over gRPC", async () => {
    const { client, recorder } = recorded();
    const examples = [{ x: 1 }, { x: 2 }];
    const predicted = await client.predict({ name, version: 123n }, { x: x(1, 2) }, { outputFilter: ["y"] });
    const classified = await client.classify({ name, signatureName: "classify_x_to_y" }, examples);
    const regressed = await client.regress({ name, signatureName: "regress_x_to_y" }, examples, { context: { x: 3 } });
    const tasks = [{ model: { name, signatureName: "classify_x_to_y" }, method: "classify" as const }];
    const inferred = await client.multiInference(tasks, examples);
    await recorder.close();

    const feature = (value: number) => ({ x: { kind: "float", values: [value] } });
    expect(recorder.stats()).toEqual({ recorded: 4, dropped: 0, failed: 0 });
    expect(await recordsIn()).toMatchObject([
      { kind: "predict", modelSpec: { name, version: 123n }, inputs: { x: x(1, 2) }, outputFilter: ["y"], response: predicted },
      {
        kind: "classify",
        modelSpec: { name, signatureName: "classify_x_to_y" },
        examples: [feature(1), feature(2)],
        response: classified,
      },
      { kind: "regress", examples: [feature(1), feature(2)], context: feature(3), response: regressed },
      { kind: "multiInference", tasks, examples: [feature(1), feature(2)], response: inferred },
    ]);
  });

  it("records calls over REST", async () => {
    const { client, recorder } = recorded({}, server.restTarget);
    await client.predict(name, [1, 2]);
    await recorder.close();
    expect(await recordsIn()).toMatchObject([{ inputs: { x: x(1, 2) }, response: { outputs: { y: x(2.5, 3) } } }]);
  });

  it("records neither failed calls nor those of other kinds", async () => {
    const { client, recorder } = recorded();
    await expect(client.predict("missing", { x: x(1) })).rejects.toThrow("NOT_FOUND");
    await client.getModelStatus(name);
    await client.getModelMetadata(name);
    await recorder.close();
    expect(recorder.stats()).toEqual({ recorded: 0, dropped: 0, failed: 0 });
    expect(existsSync(dir)).toBe(false);
  });

  it("keeps what inputs and results were, whatever callers do with them afterwards", async () => {
    const { client, recorder } = recorded();
    const values = Float32Array.of(1, 2);
    const { outputs } = await client.predict(name, { x: tensor("float32", [2], values) });
    values.fill(9);
    outputs["y"]?.as("float32").values.fill(9);
    await recorder.close();
    expect(await recordsIn()).toMatchObject([{ inputs: { x: x(1, 2) }, response: { outputs: { y: x(2.5, 3) } } }]);
  });

  it("has records in the file without being closed", async () => {
    const { client, recorder } = recorded();
    await client.predict(name, { x: x(1) });
    await vi.waitFor(() => expect(recorder.stats().recorded).toBe(1));
    expect(await recordsIn()).toHaveLength(1);
  });

  it("records the part of the calls that it is told", async () => {
    const { client, recorder } = recorded({ sampleRate: 0.5 }, new EchoTransport());
    for (let i = 0; i < 1000; i++) await client.predict(name, { x: x(i) });
    await recorder.close();
    const { recorded: records, dropped } = recorder.stats();
    expect(dropped).toBe(0);
    expect(records).toBeGreaterThan(400);
    expect(records).toBeLessThan(600);
  });

  it("ends the recording at maxRecords, and counts what it drops", async () => {
    const { client, recorder } = recorded({ maxRecords: 3 });
    for (let i = 0; i < 5; i++) await client.predict(name, { x: x(i) });
    await recorder.close();
    expect(recorder.stats()).toEqual({ recorded: 3, dropped: 2, failed: 0 });
    expect(inputsOf(await recordsIn())).toEqual([[0], [1], [2]]);
  });

  it("makes no file larger than maxBytes", async () => {
    const { client, recorder } = recorded({ maxBytes: 1000 });
    for (let i = 0; i < 20; i++) await client.predict(name, { x: x(i) });
    await recorder.close();
    const { recorded: records, dropped } = recorder.stats();
    expect(records + dropped).toBe(20);
    const [file = ""] = readdirSync(dir);
    const { size } = statSync(join(dir, file));
    expect(size).toBeLessThanOrEqual(1000);
    expect(size + size / records).toBeGreaterThan(1000);
  });

  it("drops a call that is larger than the room left, and goes on with those that are not", async () => {
    const { client, recorder } = recorded({ maxBytes: 2000 }, new EchoTransport());
    await client.predict(name, { x: x(1) });
    await client.predict(name, { x: x(...new Float32Array(1000)) });
    await client.predict(name, { x: x(2) });
    await recorder.close();
    expect(recorder.stats()).toEqual({ recorded: 2, dropped: 1, failed: 0 });
    expect(inputsOf(await recordsIn())).toEqual([[1], [2]]);
  });

  it("writes after the callers have their results", async () => {
    const { client, recorder } = recorded();
    await client.predict(name, { x: x(1) });
    expect(existsSync(dir)).toBe(false);
    await recorder.close();
    expect(inputsOf(await recordsIn())).toEqual([[1]]);
  });

  it("drops calls while too much waits for the disk", async () => {
    const { client, recorder } = recorded({}, new EchoTransport());
    const megabyte = tensor("uint8", [2 ** 20], new Uint8Array(2 ** 20));
    await Promise.all(Array.from({ length: 30 }, () => client.predict(name, { x: megabyte })));
    await recorder.close();
    const { recorded: records, dropped, failed } = recorder.stats();
    expect({ all: records + dropped, failed }).toEqual({ all: 30, failed: 0 });
    expect(dropped).toBeGreaterThan(10);
    expect(await recordsIn()).toHaveLength(records);
  });

  it("writes what redact makes of a call, and nothing where it gives nothing", async () => {
    const redact = (record: CallRecord) => {
      if (record.kind !== "predict") return undefined;
      return { ...record, inputs: { x: x(0) }, response: undefined };
    };
    const { client, recorder } = recorded({ redact });
    await client.predict(name, { x: x(1) });
    await client.classify({ name, signatureName: "classify_x_to_y" }, [{ x: 1 }]);
    await recorder.close();
    expect(recorder.stats()).toEqual({ recorded: 1, dropped: 0, failed: 0 });
    expect(await recordsIn()).toEqual([{ kind: "predict", modelSpec: { name }, inputs: { x: x(0) } }]);
  });

  it("records nothing of a call for which redact throws, and counts it", async () => {
    const warning = nextWarning();
    const redact = ({ kind }: CallRecord): undefined => {
      throw new Error(`no idea what to hide in a ${kind} call`);
    };
    const { client, recorder } = recorded({ redact });
    await expect(client.predict(name, { x: x(1) })).resolves.toMatchObject({ outputs: { y: x(2.5) } });
    await recorder.close();
    expect(recorder.stats()).toMatchObject({ recorded: 0, failed: 1, lastError: { message: "no idea what to hide in a predict call" } });
    expect(await warning).toContain("no idea what to hide in a predict call");
    expect(existsSync(dir)).toBe(false);
  });

  it("lets no call see that the disk fails, and says so once", async () => {
    writeFileSync(dir, "a file where the folder should be");
    const warning = nextWarning();
    const { client, recorder } = recorded();
    await client.predict(name, { x: x(1) });
    expect(await warning).toContain("EEXIST");
    await client.predict(name, { x: x(2) });
    await recorder.close();
    expect(recorder.stats()).toMatchObject({ recorded: 0, dropped: 1, failed: 1, lastError: { code: "EEXIST" } });
  });

  it("passes calls on after it is closed, and closes once", async () => {
    const { client, recorder } = recorded();
    await client.predict(name, { x: x(1) });
    await Promise.all([recorder.close(), recorder.close()]);
    await client.predict(name, { x: x(2) });
    expect(inputsOf(await recordsIn())).toEqual([[1]]);
  });

  it("serves several clients, and leaves them to close their transports", async () => {
    const recorder = createRecorder({ dir, sampleRate: 1 });
    const transports = [new EchoTransport(), new EchoTransport(true)];
    expect(transports.map((transport) => recorder(transport).needsSignature)).toEqual([false, true]);
    const clients = transports.map((transport) => new PredictionClient(transport, { middleware: [recorder] }));
    for (const client of clients) await client.predict(name, { x: x(1) });
    await recorder.close();
    expect(transports.map(({ closed }) => closed)).toEqual([0, 0]);
    for (const client of clients) await client.close();
    expect(transports.map(({ closed }) => closed)).toEqual([1, 1]);
    expect(await recordsIn()).toHaveLength(2);
  });

  describe("rejects", () => {
    it.each([
      [undefined, "options: expected { dir, sampleRate?, ... }, got undefined"],
      [{}, "dir: expected a path, got undefined"],
      [{ dir: "d", sampleRate: "1" }, 'sampleRate: expected a number from 0 to 1, got "1"'],
      [{ dir: "d", sampleRate: 2 }, "sampleRate: expected a number from 0 to 1, got 2"],
      [{ dir: "d", maxRecords: 0 }, "maxRecords: expected a whole number from 1 up, got 0"],
      [{ dir: "d", maxBytes: "1" }, 'maxBytes: expected a number, got "1"'],
      [{ dir: "d", redact: true }, "redact: expected a function, got true"],
      [{ dir: "d", rate: 1 }, "rate: unknown option"],
    ])("the options %o", (options, message) => {
      expect(() => createRecorder(options as never)).toThrow(message);
    });
  });
});

/** Text of the next warning of the process. */
function nextWarning(): Promise<string> {
  return new Promise((resolve) => process.once("warning", ({ message }) => resolve(message)));
}

/** Record calls of a client, then close the recorder. */
async function record(calls: (client: PredictionClient) => Promise<unknown>): Promise<Recorder> {
  const { client, recorder } = recorded();
  await calls(client);
  await recorder.close();
  return recorder;
}

describe("readRecording", () => {
  it("reads the files of a folder in the order they were begun", async () => {
    for (const value of [1, 2, 3]) await record((client) => client.predict(name, { x: x(value) }));
    expect(readdirSync(dir)).toHaveLength(3);
    expect(inputsOf(await recordsIn())).toEqual([[1], [2], [3]]);
  });

  it("reads what is whole of a file that was left unfinished", async () => {
    await record(async (client) => {
      for (const value of [1, 2]) await client.predict(name, { x: x(value) });
    });
    const file = join(dir, readdirSync(dir)[0] as string);
    truncateSync(file, readFileSync(file).length - 1);
    expect(inputsOf(await recordsIn(file))).toEqual([[1]]);
  });
});

describe("warmupRecordsFrom", () => {
  it("gives the newest call of each signature and shape without its answer, newest first", async () => {
    await record(async (client) => {
      await client.predict(name, { x: x(1) });
      await client.predict(name, { x: x(1, 2) });
      await client.predict(name, { x: x(3) });
      await client.classify({ name, signatureName: "classify_x_to_y" }, [{ x: 1 }]);
      await client.classify({ name, signatureName: "classify_x_to_y" }, [{ x: 2 }]);
      await client.classify({ name, signatureName: "classify_x_to_y" }, [{ x: 1 }, { x: 2 }]);
    });
    const records = await warmupRecordsFrom(dir);
    expect(records.map((call) => ("examples" in call ? call.examples.length : inputsOf([call])))).toEqual([2, 1, [[3]], [[1, 2]]]);
    expect(records.every(({ response }) => response === undefined)).toBe(true);
  });

  it("keeps calls apart that want other outputs, or whose models differ", async () => {
    const echo = new EchoTransport();
    const { client, recorder } = recorded({}, echo);
    for (const outputFilter of [["a", "b"], ["b", "a"], ["a"]]) await client.predict("m", { x: x(1) }, { outputFilter });
    await client.predict("n", { x: x(1) });
    await client.multiInference([{ model: "n", method: "regress" }], [{ x: 1 }]);
    await recorder.close();
    expect(await warmupRecordsFrom(dir)).toHaveLength(4);
    expect((await warmupRecordsFrom(dir, { model: "n" })).map(({ kind }) => kind)).toEqual(["multiInference", "predict"]);
  });

  it("leaves out calls that would keep a server from loading the version, and tells of them", async () => {
    const echo = new EchoTransport();
    const { client, recorder } = recorded({}, echo);
    await client.predict(name, { x: x(1) });
    await client.predict(name, { x: tensor("float32", [1, 1], [1]) });
    await client.predict(name, { x: x() });
    await client.predict({ name, signatureName: "old" }, { x: x(1) });
    await recorder.close();

    const versionDir = fileURLToPath(new URL("../fixtures/saved_models/half_plus_two/00000123", import.meta.url));
    const { signatures } = await readSavedModel(versionDir);
    for (const options of [{ versionDir }, { signatures }]) {
      const leftOut: string[] = [];
      const onLeftOut = (call: CallRecord, problems: readonly string[]) => leftOut.push(`${call.kind}: ${problems.join()}`);
      expect(inputsOf(await warmupRecordsFrom(dir, { ...options, onLeftOut }))).toEqual([[1]]);
      expect(leftOut).toEqual([
        expect.stringMatching(/^predict: input "x": expected float32 \[\?\], got float32 \[1, 1\]/),
        expect.stringMatching(/^predict: input "x" has no rows/),
        expect.stringMatching(/^predict: signature "old" is not in the model/),
      ]);
    }
    // Without signatures only what no model takes.
    expect(await warmupRecordsFrom(dir)).toHaveLength(3);
  });

  it("gives the newest maxRecords", async () => {
    await record(async (client) => {
      for (const values of [[1], [1, 2], [1, 2, 3], [4]]) await client.predict(name, { x: x(...values) });
    });
    expect(inputsOf(await warmupRecordsFrom(dir, { maxRecords: 2 }))).toEqual([[4], [1, 2, 3]]);
  });

  it("rejects malformed options", async () => {
    await expect(warmupRecordsFrom(dir, { maxRecords: 0 })).rejects.toThrow("maxRecords: expected a whole number from 1 up, got 0");
    await expect(warmupRecordsFrom(dir, { versionDir: dir })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(warmupRecordsFrom(dir, { signature: "s" } as never)).rejects.toThrow("signature: unknown option");
  });
});

describe("replayRecord", () => {
  it("sends recorded calls of every kind again, with equal answers", async () => {
    const examples = [{ x: 1 }, { x: 2 }];
    const [classify, regress] = [
      { name, signatureName: "classify_x_to_y" },
      { name, signatureName: "regress_x_to_y" },
    ];
    await record(async (client) => {
      await client.predict(name, { x: x(1, 2) }, { outputFilter: ["y"] });
      await client.classify(classify, examples);
      await client.regress(regress, examples, { context: { unused: 1 } });
      await client.multiInference([{ model: regress, method: "regress" }], examples);
    });
    await using client = new PredictionClient(server.grpcTarget);
    let count = 0;
    for await (const call of readRecording(dir)) {
      count++;
      expect(await replayRecord(client, call, { timeoutMs: 5000 })).toEqual((call as CallRecord).response);
    }
    expect(count).toBe(4);
  });

  it("rejects logs that hold no call, and what is no record", async () => {
    await using client = new PredictionClient(new EchoTransport());
    await expect(replayRecord(client, { kind: "empty", bytes: new Uint8Array() })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: "replay: expected a call, got a log of kind empty",
    });
    await expect(replayRecord(client, { kind: "toString" } as never)).rejects.toThrow(TypeError);
  });
});
