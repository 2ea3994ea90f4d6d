/** Live calls -> a recording: TFRecord files of PredictionLogs with requests and responses, as model servers log them. */
import { randomUUID } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as afterWaitingCalls } from "node:timers/promises";
import { assertCount, assertOptionNames } from "../option-checks.js";
import { describeNotPlain, isPlainObject } from "../plain-object.js";
import { describe } from "../tensor/values.js";
import type { Transport } from "../transport/transport.js";
import { type SizedLog, sizedPredictionLog } from "./prediction-log.js";
import { framingBytes, TFRecordWriter } from "./tfrecord.js";
import type { CallRecord, WarmupRecord } from "./warmup-record.js";

/** Options of {@link createRecorder}. */
export interface RecorderOptions {
  /** Folder of the recording; made when the first call is recorded. Every recorder writes a file of its own. */
  readonly dir: string;
  /** Part of the calls that is recorded, from 0 to 1. @defaultValue 0.01 */
  readonly sampleRate?: number | undefined;
  /** Calls that are recorded in all. @defaultValue 10_000 */
  readonly maxRecords?: number | undefined;
  /** Size of the file; calls that would make it larger are dropped. @defaultValue 256 MiB */
  readonly maxBytes?: number | undefined;
  /**
   * Gives what is written of a call, or `undefined` for nothing. The record it gets holds the call's own tensors and its caller's result: it
   * must not change these, but give a record with others. A call for which it throws is not recorded. @defaultValue all of it
   */
  readonly redact?: ((record: CallRecord) => WarmupRecord | undefined) | undefined;
}

/** Defaults of {@link RecorderOptions}. */
export const recorderDefaults = Object.freeze({ sampleRate: 0.01, maxRecords: 10_000, maxBytes: 256 * 2 ** 20 } as const);

/** What waits to be written at most; while it is reached, sampled calls are dropped. */
const queueLimits = Object.freeze({ records: 1000, bytes: 16 * 2 ** 20 } as const);

/** What became of the calls that were sampled and answered. */
export interface RecorderStats {
  /** Records in the file. */
  readonly recorded: number;
  /** Calls that were not recorded because the disk was too slow for them, or `maxRecords` or `maxBytes` was reached. */
  readonly dropped: number;
  /** Calls that were not recorded because of an error. */
  readonly failed: number;
  /** The last of these errors. */
  readonly lastError?: Error;
}

/** A middleware that records calls. One may serve several clients, and is closed after them. */
export interface Recorder {
  (next: Transport): Transport;
  stats(): RecorderStats;
  /** Record no more, write what waits and close the file. Does not fail: see {@link Recorder.stats}. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * A middleware that records a sample of the calls that are answered: predict, classify, regress and multiInference, with their answers.
 *
 * Recording never makes a call fail or wait for the disk. A sampled call takes as much longer as it takes to copy its request and answer,
 * since inputs may change and results may be changed once its caller has the result: some microseconds, about 10 ms for 16 MB of numbers, 15 ms
 * for 300,000 strings. Checksums are computed after that, on the same thread. An error of the disk ends the recording; it shows in
 * `stats()`, and the first error of a recorder also as a process warning.
 *
 * @throws TypeError or RangeError if an option is malformed or unknown.
 */
export function createRecorder(options: RecorderOptions): Recorder {
  const recording = new Recording(settingsFrom(options));
  return Object.assign((next: Transport) => recordingTransport(next, recording), {
    stats: () => recording.stats(),
    close: () => recording.close(),
    [Symbol.asyncDispose]: () => recording.close(),
  });
}

function recordingTransport(next: Transport, recording: Recording): Transport {
  return {
    needsSignature: next.needsSignature === true,
    predict: (spec, inputs, options) =>
      recording.observe(next.predict(spec, inputs, options), (response) => ({
        kind: "predict",
        modelSpec: spec,
        inputs,
        outputFilter: options.outputFilter,
        response,
      })),
    classify: (spec, examples, options) =>
      recording.observe(next.classify(spec, examples, options), (response) => ({
        kind: "classify",
        modelSpec: spec,
        examples,
        context: options.context,
        response,
      })),
    regress: (spec, examples, options) =>
      recording.observe(next.regress(spec, examples, options), (response) => ({
        kind: "regress",
        modelSpec: spec,
        examples,
        context: options.context,
        response,
      })),
    multiInference: (tasks, examples, options) =>
      recording.observe(next.multiInference(tasks, examples, options), (response) => ({
        kind: "multiInference",
        tasks: tasks.map(({ spec, method }) => ({ model: spec, method })),
        examples,
        context: options.context,
        response,
      })),
    getModelMetadata: (spec, options) => next.getModelMetadata(spec, options),
    getModelStatus: (spec, options) => next.getModelStatus(spec, options),
    reloadConfig: (config, options) => next.reloadConfig(config, options),
    close: () => next.close(),
  };
}

/** One file of a recording, and what waits to be written to it. */
class Recording {
  readonly #settings: RecorderSettings;
  readonly #queue: Uint8Array[] = [];
  /** Of what is queued or being written. */
  readonly #waiting = { records: 0, bytes: 0 };
  /** Of what was queued so far. */
  readonly #taken = { records: 0, bytes: 0 };
  /** No more is recorded: there are `maxRecords`, or the disk failed. */
  #isFull = false;
  #recorded = 0;
  #dropped = 0;
  #failed = 0;
  #lastError: Error | undefined;
  #writer: TFRecordWriter | undefined;
  /** While there is something to write. */
  #writing: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  constructor(settings: RecorderSettings) {
    this.#settings = settings;
  }

  /** The call, which is recorded before it settles if it is of the sample and answered. */
  observe<Response>(call: Promise<Response>, recordOf: (response: Response) => CallRecord): Promise<Response> {
    if (this.#closed !== undefined || Math.random() >= this.#settings.sampleRate) return call;
    return call.then((response) => {
      this.#take(() => recordOf(response));
      return response;
    });
  }

  stats(): RecorderStats {
    const counts = { recorded: this.#recorded, dropped: this.#dropped, failed: this.#failed };
    return this.#lastError === undefined ? counts : { ...counts, lastError: this.#lastError };
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await this.#writing;
    await this.#writer?.close().catch((error: unknown) => this.#fail(0, error));
  }

  /** Take a call in unless there is no room for it, or an error. */
  #take(call: () => CallRecord): void {
    // Before it is encoded, which is what costs time.
    if (this.#closed !== undefined || this.#isFull || this.#isBusy()) {
      this.#dropped++;
      return;
    }
    try {
      const { redact } = this.#settings;
      const record = redact === undefined ? call() : redact(call());
      if (record !== undefined) this.#enqueue(sizedPredictionLog(record));
    } catch (error) {
      this.#fail(1, error);
    }
  }

  #isBusy(): boolean {
    return this.#waiting.records >= queueLimits.records || this.#waiting.bytes >= queueLimits.bytes;
  }

  #enqueue(log: SizedLog): void {
    const { maxRecords, maxBytes } = this.#settings;
    const bytes = log.length + framingBytes;
    if (this.#taken.bytes + bytes > maxBytes) {
      this.#dropped++;
      return;
    }
    this.#queue.push(log.toBytes());
    add(this.#taken, 1, bytes);
    add(this.#waiting, 1, bytes);
    this.#isFull = this.#taken.records === maxRecords;
    this.#writing ??= this.#write();
  }

  /** Write what is queued until nothing is left. */
  async #write(): Promise<void> {
    try {
      await afterWaitingCalls();
      this.#writer ??= await this.#open();
      while (this.#queue.length > 0) await this.#writeQueued(this.#writer);
    } catch (error) {
      this.#isFull = true;
      this.#queue.length = 0;
      this.#fail(this.#waiting.records, error);
    } finally {
      this.#writing = undefined;
    }
  }

  async #writeQueued(writer: TFRecordWriter): Promise<void> {
    const logs = this.#queue.splice(0);
    for (const log of logs) await writer.write(log);
    // So that little is lost when the process ends without closing.
    await writer.flush();
    this.#recorded += logs.length;
    add(this.#waiting, -logs.length, -logs.reduce((sum, log) => sum + log.length + framingBytes, 0));
  }

  /** A file whose name no other recorder has; names sort by time. */
  async #open(): Promise<TFRecordWriter> {
    const { dir } = this.#settings;
    await mkdir(dir, { recursive: true });
    const time = new Date().toISOString().replaceAll(":", "-");
    return new TFRecordWriter(join(dir, `recording-${time}-${randomUUID().slice(0, 8)}.tfrecord`));
  }

  #fail(records: number, cause: unknown): void {
    const isFirst = this.#lastError === undefined;
    this.#failed += records;
    this.#lastError = cause instanceof Error ? cause : new Error(describe(cause), { cause });
    if (isFirst) process.emitWarning(`recorder: calls are not recorded: ${this.#lastError.message}`);
  }
}

function add(total: { records: number; bytes: number }, records: number, bytes: number): void {
  total.records += records;
  total.bytes += bytes;
}

type RecorderSettings = ReturnType<typeof settingsFrom>;

function settingsFrom(options: RecorderOptions) {
  if (!isPlainObject(options)) throw new TypeError(`options: expected { dir, sampleRate?, ... }, got ${describeNotPlain(options)}`);
  assertOptionNames(options, { known: { dir: true, sampleRate: true, maxRecords: true, maxBytes: true, redact: true } });
  const { dir, redact, sampleRate = recorderDefaults.sampleRate } = options;
  const { maxRecords = recorderDefaults.maxRecords, maxBytes = recorderDefaults.maxBytes } = options;
  if (typeof dir !== "string" || dir === "") throw new TypeError(`dir: expected a path, got ${describe(dir)}`);
  if (typeof sampleRate !== "number") throw new TypeError(`sampleRate: expected a number from 0 to 1, got ${describe(sampleRate)}`);
  if (!(sampleRate >= 0 && sampleRate <= 1)) throw new RangeError(`sampleRate: expected a number from 0 to 1, got ${describe(sampleRate)}`);
  assertCount("maxRecords", maxRecords, 1);
  assertCount("maxBytes", maxBytes, 1);
  if (redact !== undefined && typeof redact !== "function") throw new TypeError(`redact: expected a function, got ${describe(redact)}`);
  return { dir, sampleRate, maxRecords, maxBytes, redact };
}
