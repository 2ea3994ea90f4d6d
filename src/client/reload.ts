/** What the time-out of a reload may mean. */
import { isServingError } from "../errors.js";
import type { ModelServerConfig } from "../model-server-config.js";
import { errorOfCall } from "./hints.js";

/** Base paths that stand in a hint. */
const maxPaths = 5;

/** The error of a reload; where its time ran out, with what the server may be waiting for. */
export function explainReload(error: unknown, config: ModelServerConfig): unknown {
  if (!isServingError(error, "RpcError") || error.code !== "DEADLINE_EXCEEDED") return error;
  const paths = config.models.map(({ basePath }) => basePath);
  const more = paths.length > maxPaths ? ", ..." : "";
  const hint =
    `the server waits without limit for every new model: check that each base path exists there and holds a version (${paths.slice(0, maxPaths).join(", ")}${more}); ` +
    "an earlier reload that still waits for its own holds this one up too; look at getModelStatus before sending it again, " +
    "and mind that --model_config_file_poll_wait_seconds undoes reloads";
  return errorOfCall({ method: "reloadConfig" }, error, hint);
}
