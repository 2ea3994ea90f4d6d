/** The file of `--monitoring_config_file`: metrics for Prometheus. */
import { jsonFromMessage, messageFromJson, messageFromText, textFromMessage } from "./text-format.js";

/** Where a server shows its metrics, on its REST port; nowhere without `prometheusConfig`. */
export interface MonitoringConfig {
  readonly prometheusConfig?: PrometheusConfig | undefined;
}

/** Metrics in Prometheus' text format. */
export interface PrometheusConfig {
  /** The server's default is false. */
  readonly enable?: boolean | undefined;
  /** Path of the URL. The server's default is `/monitoring/prometheus/metrics`. */
  readonly path?: string | undefined;
}

/**
 * The configuration in a text; comments are skipped.
 *
 * @throws FormatError naming field, line and column, if the server's parser would refuse the text.
 */
export function parseMonitoringConfig(text: string): MonitoringConfig {
  return jsonFromMessage("MonitoringConfig", messageFromText("MonitoringConfig", text)) as MonitoringConfig;
}

/**
 * The text of a configuration, for `--monitoring_config_file`.
 *
 * @throws TypeError if a member has another type, or there is no such member.
 */
export function formatMonitoringConfig(config: MonitoringConfig): string {
  return textFromMessage("MonitoringConfig", messageFromJson("MonitoringConfig", config));
}
