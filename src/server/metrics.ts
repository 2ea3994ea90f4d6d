/**
 * Metrics in Prometheus' text format, with the names, labels and oddities of the real server (`prometheus_exporter.cc`, `util.cc`,
 * `batching_session.cc` of TensorFlow Serving 2.20.0). Those of TensorFlow itself are not among them.
 */
import type { StatusCode } from "../errors.js";
import type { BatchingEvent } from "./batching.js";
import { formatG } from "./format-float.js";

/** A call that has been answered. */
export interface AnsweredCall {
  readonly transport: "grpc" | "rest";
  /** The RPC by its name in camelCase; absent where a REST request asked for nothing of the API. */
  readonly method?: string | undefined;
  /** As the client wrote it; empty where it names none. */
  readonly model: string;
  readonly code: StatusCode;
  readonly latencyMs: number;
  /** Of MultiInference. */
  readonly examples?: number | undefined;
}

type Labels = Readonly<Record<string, string>>;

/** Limits of buckets: `first * factor^i`. */
const buckets = (first: number, factor: number, count: number) => Array.from({ length: count }, (_, power) => first * factor ** power);
const latencyLimits = buckets(10, 1.8, 33);
const batchSizeLimits = buckets(1, 2, 14);
const exampleCountLimits = buckets(1, 2, 15);

/** Model names come from clients, who may make up any number of them: beyond this many series of a metric new ones are not counted. */
const maxSeries = 10_000;

/** One metric: its series by their labels as text. */
class Metric {
  readonly type: "counter" | "histogram" | "gauge";
  /** Of a histogram; a value that equals a limit lies above it. */
  readonly #limits: readonly number[];
  /** Values of a series: of a counter one, of a histogram what fell into each bucket, then the sum. */
  readonly #series = new Map<string, number[]>();
  /** Whether the metric is only there once it has values. */
  readonly #isLazy: boolean;

  constructor(type: Metric["type"], { limits = [], isLazy = false }: { limits?: readonly number[]; isLazy?: boolean } = {}) {
    this.type = type;
    this.#limits = limits;
    this.#isLazy = isLazy;
  }

  /** Count one more, or a value into its bucket. */
  add(labels: Labels, value = 1): void {
    const key = Object.entries(labels)
      .map(([name, text]) => `${name}="${text.replace(/["\\]/g, "\\$&")}"`)
      .join(",");
    const limits = this.#limits;
    if (this.#series.size >= maxSeries && !this.#series.has(key)) return;
    const values = this.#series.get(key) ?? new Array<number>(this.type === "histogram" ? limits.length + 2 : 1).fill(0);
    this.#series.set(key, values);
    if (this.type === "histogram") {
      const bucket = limits.findIndex((limit) => value < limit);
      increase(values, bucket < 0 ? limits.length : bucket, 1);
    }
    increase(values, values.length - 1, value);
  }

  lines(name: string): string[] {
    if (this.#isLazy && this.#series.size === 0) return [];
    const series = [...this.#series].sort(([a], [b]) => (a < b ? -1 : 1));
    return [`# TYPE ${name} ${this.type}`, ...series.flatMap(([key, values]) => this.#seriesLines(name, key, values))];
  }

  #seriesLines(name: string, key: string, values: readonly number[]): string[] {
    const total = values.at(-1) ?? 0;
    if (this.type !== "histogram") return [`${name}{${key}} ${total}`];
    let count = 0;
    const bucketLines = [...this.#limits.map((limit) => formatG(limit, 6)), "+Inf"].map((limit, index) => {
      count += values[index] ?? 0;
      return `${name}_bucket{${key}${key === "" ? "" : ","}le="${limit}"} ${count}`;
    });
    return [...bucketLines, `${name}_sum{${key}} ${formatG(total, 6)}`, `${name}_count{${key}} ${count}`];
  }
}

function increase(values: number[], index: number, by: number): void {
  values[index] = (values[index] ?? 0) + by;
}

/** How the real server spells the methods it counts. */
const counted: Readonly<Record<string, string>> = { predict: "Predict", classify: "Classify", regress: "Regress" };

/** All metrics of one server. */
export class Metrics {
  readonly #metrics = {
    "batching_session:input_batch_size": new Metric("histogram", { limits: batchSizeLimits, isLazy: true }),
    "batching_session:padding_size": new Metric("histogram", { limits: batchSizeLimits, isLazy: true }),
    "batching_session:processed_batch_size": new Metric("histogram", { limits: batchSizeLimits, isLazy: true }),
    "batching_session:queuing_latency": new Metric("histogram", { limits: latencyLimits }),
    "batching_session:wrapped_run_count": new Metric("counter"),
    mlmd_map: new Metric("gauge"),
    model_warmup_latency: new Metric("histogram", { limits: latencyLimits }),
    model_warmup_records_read: new Metric("counter"),
    request_count: new Metric("counter"),
    request_example_count_total: new Metric("counter"),
    request_example_counts: new Metric("histogram", { limits: exampleCountLimits }),
    request_latency: new Metric("histogram", { limits: latencyLimits }),
    request_log_count: new Metric("counter"),
    runtime_latency: new Metric("histogram", { limits: latencyLimits }),
  };

  /** Count a call. The time of the run is taken to be that of the call. */
  addCall({ transport, method = "", model, code, latencyMs, examples }: AnsweredCall): void {
    const all = this.#metrics;
    const api = counted[method];
    const micros = Math.round(latencyMs * 1_000);
    if (transport === "rest" || api !== undefined) all.request_count.add({ model_name: model, status: code });
    if (code !== "OK") return;
    if (examples !== undefined) {
      all.request_example_count_total.add({ model }, examples);
      all.request_example_counts.add({ model }, examples);
    }
    const isRest = transport === "rest";
    if (isRest || api !== undefined) {
      const name = isRest ? (api ?? "").toLowerCase() : (api ?? "");
      all.request_latency.add({ model_name: model, API: name, entrypoint: isRest ? "REST" : "GRPC" }, micros);
    }
    if (api !== undefined) all.runtime_latency.add({ model_name: model, API: api, runtime: "TF1" }, micros);
  }

  /** Count what batching does. */
  addBatching(event: BatchingEvent): void {
    const all = this.#metrics;
    if (event.kind === "request") {
      for (let input = 0; input < event.inputs; input++) all["batching_session:input_batch_size"].add({}, event.rows);
      return;
    }
    const { rows, paddedRows, queuedMs } = event;
    all["batching_session:wrapped_run_count"].add({});
    all["batching_session:processed_batch_size"].add({}, paddedRows);
    all["batching_session:padding_size"].add({ execution_batch_size: String(paddedRows) }, paddedRows - rows);
    for (const waitMs of queuedMs) all["batching_session:queuing_latency"].add({ thread_pool_name: "" }, Math.round(waitMs * 1_000));
  }

  /** The page. */
  text(): string {
    const lines = Object.entries(this.#metrics).flatMap(([name, metric]) => metric.lines(`:tensorflow:serving:${name}`));
    return `${lines.join("\n")}\n`;
  }
}
