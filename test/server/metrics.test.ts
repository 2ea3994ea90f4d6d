import { describe, expect, it } from "vitest";
import { Metrics } from "../../src/server/metrics.js";

const call = { transport: "grpc", method: "predict", model: "m", code: "OK", latencyMs: 0.05 } as const;
const linesOf = (metrics: Metrics, name: string) =>
  metrics
    .text()
    .split("\n")
    .filter((line) => line.includes(`:${name}`) && !line.startsWith("#"));

describe("Metrics", () => {
  // Names and labels are compared with a recorded page in golden.test.ts.

  it("puts a value that equals the limit of a bucket above it", () => {
    const metrics = new Metrics();
    metrics.addCall({ ...call, latencyMs: 0.01 });
    metrics.addCall({ ...call, latencyMs: 0.0179 });
    const buckets = linesOf(metrics, "request_latency_bucket").map((line) => line.replace(/.*le=/, ""));
    expect(buckets.slice(0, 3)).toEqual(['"10"} 0', '"18"} 1', '"32.4"} 2']);
    expect(buckets.at(-1)).toBe('"+Inf"} 2');
  });

  it("keeps what is beyond all limits", () => {
    const metrics = new Metrics();
    metrics.addCall({ ...call, latencyMs: 1e9 });
    expect(
      linesOf(metrics, "request_latency")
        .slice(-3)
        .map((line) => line.replace(/.*\} /, "")),
    ).toEqual(["1", "1e+12", "1"]);
  });

  it.each([
    ["GetModelStatus over gRPC", { ...call, method: "getModelStatus" }, 0],
    ["GetModelStatus over REST", { ...call, method: "getModelStatus", transport: "rest" }, 1],
    ["MultiInference", { ...call, method: "multiInference", examples: 3 }, 0],
    ["Predict that failed", { ...call, code: "NOT_FOUND" }, 1],
  ] as const)("counts %s as the real server does", (_what, answered, count) => {
    const metrics = new Metrics();
    metrics.addCall(answered);
    expect(linesOf(metrics, "request_count").length).toBe(count);
    expect(linesOf(metrics, "request_latency_count").length).toBe("examples" in answered || answered.code !== "OK" ? 0 : count);
  });

  it("stops at 10,000 series, however many names clients make up", () => {
    const metrics = new Metrics();
    for (let index = 0; index < 11_000; index++) metrics.addCall({ ...call, code: "NOT_FOUND", model: `m${index}` });
    metrics.addCall({ ...call, code: "NOT_FOUND", model: "m1" });
    expect(linesOf(metrics, "request_count").length).toBe(10_000);
    expect(metrics.text()).toContain('{model_name="m1",status="NOT_FOUND"} 2');
  });
});
