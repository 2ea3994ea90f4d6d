/** The file of `--model_config_file`: which models a server serves. */
import { ModelServerConfig as ModelServerConfigProto } from "../../gen/tensorflow_serving/config/model_server_config.js";
import { modelServerConfigFromProto, modelServerConfigToProto } from "../config-messages.js";
import { FormatError } from "../errors.js";
import { assertModelServerConfig, type ModelServerConfig } from "../model-server-config.js";
import { bytesFromMessage, messageFromBytes, messageFromText, textFromMessage } from "./text-format.js";

/**
 * The configuration in a text, as `client.reloadConfig` takes it; comments are skipped, what it means is not checked.
 *
 * A text without `model_config_list` is a configuration without models, and a version policy without a choice is none: to the server both
 * are the same.
 *
 * @throws FormatError naming field, line and column, if the server's parser would refuse the text; also for `custom_model_config`, at which
 * the stock server ends, and a `model_type` that upstream does not have.
 */
export function parseModelServerConfig(text: string): ModelServerConfig {
  const proto = ModelServerConfigProto.decode(bytesFromMessage("ModelServerConfig", messageFromText("ModelServerConfig", text)));
  if (proto.customModelConfig !== undefined) {
    throw new FormatError("ModelServerConfig: expected model_config_list, got custom_model_config, at which the stock server ends");
  }
  const config = modelServerConfigFromProto(proto) ?? { models: [] };
  try {
    assertModelServerConfig(config);
  } catch (cause) {
    throw new FormatError(`ModelServerConfig: ${(cause as Error).message}`, { cause });
  }
  return config;
}

/**
 * The text of a configuration, for `--model_config_file`.
 *
 * @throws TypeError or RangeError if the configuration has another form; what it means is not checked.
 */
export function formatModelServerConfig(config: ModelServerConfig): string {
  assertModelServerConfig(config);
  const bytes = ModelServerConfigProto.encode(modelServerConfigToProto(config)).finish();
  return textFromMessage("ModelServerConfig", messageFromBytes("ModelServerConfig", bytes));
}
