/** What the server refuses in a configuration, in the order and words of TensorFlow Serving 2.20.0 (`server_core.cc`). */
import { isAbsolute } from "node:path";
import { isAbsoluteBasePath, type ModelConfig } from "../model-server-config.js";
import { refusal } from "./refusal.js";

/** The one platform that the stock server knows. */
export const knownPlatform = "tensorflow";

/** @throws ServingError INVALID_ARGUMENT if a model is listed twice or its base path is relative. */
export function checkModelList(models: readonly ModelConfig[]): void {
  const names = new Set<string>();
  for (const { name } of models) {
    if (names.has(name)) throw refusal("INVALID_ARGUMENT", `Illegal to list model ${name} multiple times in config list`);
    names.add(name);
  }
  for (const { name, basePath } of models) {
    // The second is what the real server takes; the first is this system's own, which may be Windows.
    if (isAbsolute(basePath) || isAbsoluteBasePath(basePath)) continue;
    const text = `Expected model ${name} to have an absolute path or URI; got base_path()=${basePath}`;
    throw refusal("INVALID_ARGUMENT", text);
  }
}

/**
 * Compare the platforms of models that are in both lists.
 *
 * As in the real server a fault in the old list counts too: a list without platforms is refused but remembered, and every later one
 * is refused with its text.
 *
 * @throws ServingError INVALID_ARGUMENT if a model has another platform now, or a platform cannot be told.
 */
export function checkSamePlatforms(before: readonly ModelConfig[], after: readonly ModelConfig[]): void {
  const platforms = new Map(before.map((model) => [model.name, platformOf(model)]));
  for (const model of after) {
    const platform = platforms.get(model.name);
    if (platform === undefined) continue;
    const wanted = platformOf(model);
    if (wanted === platform) continue;
    const change = `platform was ${platform} and new platform requested is ${wanted}`;
    throw refusal("INVALID_ARGUMENT", `Illegal to change a model's platform. For model ${model.name} ${change}`);
  }
}

/** @throws ServingError INVALID_ARGUMENT if a model has no platform, or one that the server does not know. */
export function checkPlatforms(models: readonly ModelConfig[]): void {
  for (const model of models) {
    const platform = platformOf(model);
    if (platform !== knownPlatform) throw refusal("INVALID_ARGUMENT", `Model ${model.name} requests unsupported platform ${platform}`);
  }
}

function platformOf({ name, modelType, modelPlatform = "" }: ModelConfig): string {
  const fields = "ModelServerConfig::model_type (deprecated)";
  const platform = "ModelServerConfig::model_platform";
  if (modelType !== undefined && modelPlatform !== "") {
    throw refusal("INVALID_ARGUMENT", `Illegal setting both ${fields} and ${platform}, model name is ${name}`);
  }
  if (modelType === undefined && modelPlatform === "") {
    throw refusal("INVALID_ARGUMENT", `Illegal setting neither ${fields} nor ${platform}, model name is ${name}`);
  }
  return modelType?.toLowerCase() ?? modelPlatform;
}
