/**
 * The text format of the server's configuration files, by the descriptors of our protos.
 *
 * Source: the Protocol Buffers text format specification. The parser is that of `@bufbuild/protobuf`; it takes what the C++ parser of the
 * server takes, but for escapes above U+10FFFF. Its printer writes `field: {` where C++ writes `field {`, which both read.
 */
import {
  create,
  createFileRegistry,
  type DescMessage,
  type FileRegistry,
  fromBinary,
  fromJson,
  type JsonValue,
  type Message,
  type MessageInitShape,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { fromText, toText } from "@bufbuild/protobuf/txtpb";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { configDescriptors } from "../../gen/config-descriptors.js";
import { FormatError } from "../errors.js";
import { describeNotPlain, isPlainObject } from "../plain-object.js";
import { describe } from "../tensor/values.js";
import { locateError } from "./text-position.js";

/** A message of package tensorflow.serving that a configuration file is, or holds. */
export type ConfigMessage =
  | "ModelServerConfig"
  | "BatchingParameters"
  | "MonitoringConfig"
  | "SSLConfig"
  | "PlatformConfigMap"
  | "SavedModelBundleSourceAdapterConfig";

/** Some 20,000 models, which take some 3 s. */
const maxTextLength = 4 * 1024 * 1024;

/** Messages inside messages; configuration files have up to a dozen. */
const maxDepth = 50;

/** What stands of the parser's words in an error; they may quote the text. */
const maxReasonLength = 300;

/**
 * The message in a text.
 *
 * @throws FormatError naming the field, line and column, where looking for them does not take long; TypeError if the text is no string.
 */
export function messageFromText(name: ConfigMessage, text: string): Message {
  if (typeof text !== "string") throw new TypeError(`${name}: expected its text, got ${describe(text)}`);
  if (text.length > maxTextLength) {
    throw new FormatError(`${name}: expected a text of at most ${maxTextLength} characters, got ${text.length}`);
  }
  const parse = (part: string) => fromText(typeOf(name), part, { registry: configRegistry(), recursionLimit: maxDepth });
  try {
    return parse(text);
  } catch (cause) {
    const position = locateError(text, parse);
    if (position === undefined) throw new FormatError(`${name}: ${reasonOf(cause)}`, { cause });
    const { path, line, column } = position;
    throw new FormatError(`${name}, line ${line}, column ${column}: ${path}: ${reasonOf(cause)}`, { line, column, cause });
  }
}

/** The message of plain values; they are not checked. */
export function createMessage(name: ConfigMessage, fields: Readonly<Record<string, unknown>>): Message {
  return create(typeOf(name), fields as MessageInitShape<DescMessage>);
}

/** The text of a message; what an Any holds is written out where its type is known. */
export function textFromMessage(name: ConfigMessage, message: Message): string {
  return toText(typeOf(name), message, { registry: configRegistry() });
}

/** The bytes of a message. */
export function bytesFromMessage(name: ConfigMessage, message: Message): Uint8Array {
  return toBinary(typeOf(name), message);
}

/** @throws FormatError if the bytes are no such message. */
export function messageFromBytes(name: ConfigMessage, bytes: Uint8Array): Message {
  try {
    return fromBinary(typeOf(name), bytes);
  } catch (cause) {
    throw new FormatError(`${name}: expected its bytes, got others: ${reasonOf(cause)}`, { cause });
  }
}

/**
 * The fields of a message that are set, by their names in camelCase, as protobuf's JSON mapping has them: 64-bit integers are strings.
 *
 * @throws FormatError if an Any in it holds another type than those known here.
 */
export function jsonFromMessage(name: ConfigMessage, message: Message): unknown {
  try {
    return toJson(typeOf(name), message, { registry: configRegistry() });
  } catch (cause) {
    throw new FormatError(`${name}: ${reasonOf(cause)}`, { cause });
  }
}

/**
 * The message of such JSON; members that are `undefined` count as absent, and 64-bit integers may be numbers or bigints too.
 *
 * @throws TypeError if a member has another type than its field, or is none.
 */
export function messageFromJson(name: ConfigMessage, value: unknown): Message {
  if (!isPlainObject(value)) throw new TypeError(`${name}: expected an object, got ${describeNotPlain(value)}`);
  try {
    const text = JSON.stringify(value, (_key, member: unknown) => (typeof member === "bigint" ? String(member) : member));
    return fromJson(typeOf(name), JSON.parse(text) as JsonValue, { registry: configRegistry() });
  } catch (cause) {
    throw new TypeError(`${name}: ${reasonOf(cause)}`, { cause });
  }
}

let registry: FileRegistry | undefined;

/** Made when first used, for it takes some 20 ms. */
function configRegistry(): FileRegistry {
  registry ??= createFileRegistry(fromBinary(FileDescriptorSetSchema, Buffer.from(configDescriptors, "base64")));
  return registry;
}

function typeOf(name: ConfigMessage): DescMessage {
  const type = configRegistry().getMessage(`tensorflow.serving.${name}`);
  if (type === undefined) throw new Error(`gen/config-descriptors.ts does not have ${name}`);
  return type;
}

function reasonOf(error: unknown): string {
  return String(error instanceof Error ? error.message : error).slice(0, maxReasonLength);
}
