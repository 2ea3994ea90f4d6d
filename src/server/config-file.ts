/** The files that flags name, `--model_config_file` above all, read and refused as TensorFlow Serving 2.20.0 does. */
import { readFile } from "node:fs/promises";
import { parseModelServerConfig } from "../config/model-server-config.js";
import type { ModelServerConfig } from "../model-server-config.js";
import { refusal } from "./refusal.js";

/**
 * The configuration in a file; `undefined` for a file without a list of models, one with comments only, say: servers take no action then.
 *
 * @throws ServingError NOT_FOUND if there is no such file, INVALID_ARGUMENT if it is empty or cannot be parsed, both as the server says it.
 */
export function readConfigFile(path: string): Promise<ModelServerConfig | undefined> {
  return messageInFile(path, (text) => {
    const config = parseModelServerConfig(text);
    return config.models.length > 0 || /^\s*model_config_list/m.test(text) ? config : undefined;
  });
}

/**
 * What a parser makes of a file that a flag names.
 *
 * @throws ServingError NOT_FOUND if there is no such file, INVALID_ARGUMENT if it is empty or cannot be parsed, both as the server says it.
 */
export async function messageInFile<T>(path: string, parse: (text: string) => T): Promise<T> {
  const text = await readText(path);
  if (text === "") throw refusal("INVALID_ARGUMENT", `${path}; Invalid argument`);
  try {
    return parse(text);
  } catch (cause) {
    throw refusal("INVALID_ARGUMENT", `Invalid protobuf file: '${path}'`, cause);
  }
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT") throw refusal("NOT_FOUND", `${path}; No such file or directory`, cause);
    throw refusal("UNKNOWN", `${path}; ${(cause as Error).message}`, cause);
  }
}
