import { describe, expect, it } from "vitest";
import { frontSettings } from "../../src/server/front-options.js";
import { startModelServer } from "../../src/server/index.js";
import { halfPlusTwo } from "./golden-models.js";
import { rawHttp } from "./raw-http.js";

describe("frontSettings", () => {
  it.each([
    ["nothing is said", {}, undefined],
    ["there is no Prometheus", { monitoring: {} }, undefined],
    ["Prometheus is not enabled", { monitoring: { prometheusConfig: { path: "/metrics" } } }, undefined],
    ["no path is given", { monitoring: { prometheusConfig: { enable: true } } }, "/monitoring/prometheus/metrics"],
    ["the path is empty", { monitoring: { prometheusConfig: { enable: true, path: "" } } }, "/monitoring/prometheus/metrics"],
    ["a path is given", { monitoring: { prometheusConfig: { enable: true, path: "/metrics" } } }, "/metrics"],
  ])("finds the path of the metrics where %s", (_what, options, metricsPath) => {
    expect(frontSettings(options).metricsPath).toBe(metricsPath);
  });

  it("leaves REST answers as they are where gRPC ones hold tensor_content", async () => {
    const server = await startModelServer({ models: { m: halfPlusTwo }, enableSerializationAsTensorContent: true });
    const body = '{"instances": [1.0]}';
    const answer = await rawHttp(
      server.restPort,
      Buffer.from(`POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: ${body.length}\r\n\r\n${body}`),
    );
    expect(answer.body.toString()).toContain("[2.5\n");
    await server.close();
  });
});

describe("rejects", () => {
  it.each([
    [
      "a time that is negative",
      { restTimeoutMs: -1 },
      RangeError,
      "restTimeoutMs: expected a number of milliseconds from 0 to 2147483647, got -1",
    ],
    ["a time that is no number", { restTimeoutMs: "1" }, RangeError, "got 1"],
    ["a flag that is no boolean", { enableRestCors: "yes" }, TypeError, "enableRestCors: expected true or false, got yes"],
    ["monitoring that is a path", { monitoring: "/metrics" }, TypeError, "monitoring: expected a MonitoringConfig"],
  ])("%s", (_what, options, type, text) => {
    expect(() => frontSettings(options as never)).toThrow(type);
    expect(() => frontSettings(options as never)).toThrow(text);
  });
});
