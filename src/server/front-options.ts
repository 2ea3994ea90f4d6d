/** The options that say how a server's two fronts answer. */
import type { MonitoringConfig } from "../config/monitoring-config.js";
import { maxTimerMs } from "../deadline.js";

/** Options of a server's fronts. */
export interface FrontOptions {
  /** How long a run may take that was asked for over REST (`--rest_api_timeout_in_ms`); 0 sets no limit. @defaultValue 30000 */
  readonly restTimeoutMs?: number | undefined;
  /** Whether REST answers let web pages of any origin read them (`--rest_api_enable_cors_support`). @defaultValue false */
  readonly enableRestCors?: boolean | undefined;
  /** Where the REST port shows metrics for Prometheus (`--monitoring_config_file`). @defaultValue nowhere */
  readonly monitoring?: MonitoringConfig | undefined;
  /** Whether `grpc.health.v1.Health` is served (`--enable_grpc_healthcheck_service`); it says SERVING whatever the models do. @defaultValue false */
  readonly enableHealthService?: boolean | undefined;
  /**
   * Whether gRPC answers of Predict hold `tensor_content` in place of the field of their dtype (`--enable_serialization_as_tensor_content`).
   * REST, which the real server answers with arbitrary numbers then, is not affected.
   *
   * @defaultValue false
   */
  readonly enableSerializationAsTensorContent?: boolean | undefined;
}

/** Defaults of {@link FrontOptions}. */
export const frontDefaults = Object.freeze({
  restTimeoutMs: 30_000,
  enableRestCors: false,
  enableHealthService: false,
  enableSerializationAsTensorContent: false,
});

/** The real server's default for the path of the metrics. */
const defaultMetricsPath = "/monitoring/prometheus/metrics";

/** {@link FrontOptions} with their defaults. */
export type FrontSettings = { readonly [Name in keyof typeof frontDefaults]: NonNullable<FrontOptions[Name]> } & {
  /** Absent where metrics are not shown. */
  readonly metricsPath: string | undefined;
};

/** @throws TypeError or RangeError if an option of the fronts is malformed. */
export function frontSettings(options: FrontOptions): FrontSettings {
  const { restTimeoutMs = frontDefaults.restTimeoutMs, monitoring } = options;
  if (!(typeof restTimeoutMs === "number" && restTimeoutMs >= 0 && restTimeoutMs <= maxTimerMs)) {
    throw new RangeError(`restTimeoutMs: expected a number of milliseconds from 0 to ${maxTimerMs}, got ${String(restTimeoutMs)}`);
  }
  return {
    restTimeoutMs,
    enableRestCors: flag(options, "enableRestCors"),
    enableHealthService: flag(options, "enableHealthService"),
    enableSerializationAsTensorContent: flag(options, "enableSerializationAsTensorContent"),
    metricsPath: metricsPathFrom(monitoring),
  };
}

function flag(options: FrontOptions, name: "enableRestCors" | "enableHealthService" | "enableSerializationAsTensorContent"): boolean {
  const value: unknown = options[name] ?? frontDefaults[name];
  if (typeof value !== "boolean") throw new TypeError(`${name}: expected true or false, got ${String(value)}`);
  return value;
}

function metricsPathFrom(monitoring: MonitoringConfig | undefined): string | undefined {
  if (monitoring !== undefined && (typeof monitoring !== "object" || monitoring === null)) {
    throw new TypeError(
      `monitoring: expected a MonitoringConfig such as { prometheusConfig: { enable: true } }, got ${String(monitoring)}`,
    );
  }
  const { enable = false, path = "" } = monitoring?.prometheusConfig ?? {};
  return enable ? path || defaultMetricsPath : undefined;
}
