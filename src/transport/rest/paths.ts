/** URL paths of TensorFlow Serving's REST API; names and labels are percent-encoded, there are no query strings. */
import type { ModelSpec } from "../../model-spec.js";

/** `/v1/models/NAME`, with `/versions/N` or `/labels/L` where the spec has one. */
export function modelPath(spec: ModelSpec): string {
  const model = `/v1/models/${encodeSegment(spec.name)}`;
  if (spec.version !== undefined) return `${model}/versions/${spec.version}`;
  if (spec.versionLabel !== undefined) return `${model}/labels/${encodeSegment(spec.versionLabel)}`;
  return model;
}

/** The path of a model's status; the server ignores labels there. */
export function statusPath(spec: ModelSpec): string {
  return spec.versionLabel === undefined ? modelPath(spec) : modelPath({ name: spec.name });
}

function encodeSegment(text: string): string {
  // Escaped or not, proxies and URL parsers take these for a step in the path, so another path would be asked.
  if (text === "." || text === "..") throw new TypeError(`"${text}": URLs cannot hold this name: use gRPC (port 8500 by default)`);
  try {
    return encodeURIComponent(text);
  } catch (cause) {
    throw new TypeError(`${JSON.stringify(text)}: expected well-formed text, got a lone surrogate`, { cause });
  }
}
