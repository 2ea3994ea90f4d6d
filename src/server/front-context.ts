/** What both fronts of a server share. */
import type { CallGate } from "./call-gate.js";
import type { FrontSettings } from "./front-options.js";
import type { Metrics } from "./metrics.js";
import type { ModelManager } from "./model-manager.js";

/** The server behind a front. */
export interface FrontContext {
  readonly manager: ModelManager;
  readonly gate: CallGate;
  readonly metrics: Metrics;
  readonly settings: FrontSettings;
}
