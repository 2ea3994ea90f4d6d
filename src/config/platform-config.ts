/** The file of `--platform_config_file`: how models of each platform are loaded, instead of all flags for sessions, batching and warm-up. */
import type { Message } from "@bufbuild/protobuf";
import { assertOptionNames } from "../option-checks.js";
import { describeNotPlain, isPlainObject } from "../plain-object.js";
import { isBytes } from "../tensor/values.js";
import { assertCounts, type BatchingParameters, batchingParametersFromJson } from "./batching-parameters.js";
import {
  bytesFromMessage,
  createMessage,
  jsonFromMessage,
  messageFromBytes,
  messageFromJson,
  messageFromText,
  textFromMessage,
} from "./text-format.js";

/** How models are loaded, by platform; the stock server knows `tensorflow`. */
export interface PlatformConfigMap {
  readonly platformConfigs: Readonly<Record<string, PlatformConfig>>;
}

/** How models of one platform are loaded. */
export interface PlatformConfig {
  readonly sourceAdapterConfig?: SavedModelBundleSourceAdapterConfig | AnyMessage | undefined;
}

/** How the stock server loads SavedModels. */
export interface SavedModelBundleSourceAdapterConfig {
  readonly legacyConfig?: SessionBundleConfig | undefined;
}

/**
 * Sessions, batching and warm-up: the fields of `SessionBundleConfig` in protobuf's JSON mapping, so `sessionConfig`, `enableModelWarmup`,
 * `savedModelTags`..., and 64-bit integers as decimal strings; only the batching parameters are numbers.
 */
export interface SessionBundleConfig {
  readonly batchingParameters?: BatchingParameters | undefined;
  readonly [field: string]: unknown;
}

/** A message of another type, kept as read. */
export interface AnyMessage {
  /** Such as `type.googleapis.com/package.Message`. */
  readonly typeUrl: string;
  /** The message's bytes. */
  readonly value: Uint8Array;
}

const adapterType = "SavedModelBundleSourceAdapterConfig";
const adapterUrl = `type.googleapis.com/tensorflow.serving.${adapterType}`;

/** A PlatformConfigMap as the parser makes it. */
interface PlatformConfigMessage extends Message {
  readonly platformConfigs: Readonly<Record<string, { sourceAdapterConfig?: AnyMessage }>>;
}

/**
 * The configuration in a text; comments are skipped. Messages of other types than the stock server's are kept as bytes.
 *
 * @throws FormatError naming field, line and column, if the server's parser would refuse the text; also for bytes that are not the message
 * they are said to be.
 */
export function parsePlatformConfigMap(text: string): PlatformConfigMap {
  const { platformConfigs } = messageFromText("PlatformConfigMap", text) as PlatformConfigMessage;
  const parsed: Record<string, PlatformConfig> = Object.create(null);
  for (const [platform, { sourceAdapterConfig: any }] of Object.entries(platformConfigs)) {
    parsed[platform] = any === undefined ? {} : { sourceAdapterConfig: adapterFromAny(any) };
  }
  return { platformConfigs: parsed };
}

function adapterFromAny({ typeUrl, value }: AnyMessage): SavedModelBundleSourceAdapterConfig | AnyMessage {
  if (typeUrl !== adapterUrl) return { typeUrl, value };
  const { legacyConfig } = jsonFromMessage(adapterType, messageFromBytes(adapterType, value)) as SavedModelBundleSourceAdapterConfig;
  if (legacyConfig === undefined) return {};
  const { batchingParameters } = legacyConfig;
  if (batchingParameters === undefined) return { legacyConfig };
  return { legacyConfig: { ...legacyConfig, batchingParameters: batchingParametersFromJson(batchingParameters) } };
}

/**
 * The text of a configuration, for `--platform_config_file`.
 *
 * @throws TypeError or RangeError if a member has another type, or there is no such member.
 */
export function formatPlatformConfigMap(config: PlatformConfigMap): string {
  if (!isPlainObject(config)) throw new TypeError(`PlatformConfigMap: expected an object, got ${describeNotPlain(config)}`);
  assertOptionNames(config, { known: { platformConfigs: true } });
  assertObject(config.platformConfigs, "platformConfigs");
  const platformConfigs: Record<string, unknown> = Object.create(null);
  for (const [platform, platformConfig] of Object.entries(config.platformConfigs)) {
    const of = `platformConfigs.${platform}`;
    assertObject(platformConfig, of);
    assertOptionNames(platformConfig, { known: { sourceAdapterConfig: true }, of });
    const { sourceAdapterConfig: adapter } = platformConfig;
    platformConfigs[platform] = adapter === undefined ? {} : { sourceAdapterConfig: anyFromAdapter(adapter, `${of}.sourceAdapterConfig`) };
  }
  return textFromMessage("PlatformConfigMap", createMessage("PlatformConfigMap", { platformConfigs }));
}

function anyFromAdapter(adapter: SavedModelBundleSourceAdapterConfig | AnyMessage, of: string): AnyMessage {
  assertObject(adapter, of);
  if ("typeUrl" in adapter) {
    assertOptionNames(adapter, { known: { typeUrl: true, value: true }, of });
    if (typeof adapter.typeUrl === "string" && isBytes(adapter.value)) return adapter;
    throw new TypeError(`PlatformConfigMap: ${of}: expected typeUrl to be a string and value a Uint8Array`);
  }
  assertCounts(adapter.legacyConfig?.batchingParameters ?? {});
  return { typeUrl: adapterUrl, value: bytesFromMessage(adapterType, messageFromJson(adapterType, adapter)) };
}

function assertObject(value: unknown, what: string): void {
  if (!isPlainObject(value)) throw new TypeError(`PlatformConfigMap: expected ${what} to be an object, got ${describeNotPlain(value)}`);
}
