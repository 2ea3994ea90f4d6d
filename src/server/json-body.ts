/** Request bodies as the server reads them (`json_tensor.cc` of TensorFlow Serving 2.20.0): what Predict, Classify and Regress share. */
import { isServingError, type ServingError } from "../errors.js";
import { type JsonObject, JsonParser, type JsonParserOptions, type JsonValue } from "../tensor/json-parser.js";
import { dump } from "./pretty-json.js";
import { refusal } from "./refusal.js";

/** A body of which only the JSON has been read. */
export interface JsonBody {
  readonly document: JsonObject;
  readonly signatureName: string;
}

/** @throws ServingError INVALID_ARGUMENT if the body is no JSON object or `signature_name` no string. */
export function parseBody(bytes: Uint8Array, options: JsonParserOptions = {}): JsonBody {
  const document = parse(bytes, options);
  if (!isObject(document)) throw invalid(`JSON Value: ${shown(document)} Is not object`);
  const { signature_name: name } = document;
  if (name !== undefined && typeof name !== "string" && !(name instanceof Uint8Array)) {
    throw invalid(`JSON Value: ${shown(document)} not formatted correctly. 'signature_name' key must be a string value.`);
  }
  return { document, signatureName: name instanceof Uint8Array ? Buffer.from(name).toString() : (name ?? "") };
}

function parse(bytes: Uint8Array, options: JsonParserOptions): JsonValue {
  if (bytes.length === 0) throw invalid("JSON Parse error: The document is empty");
  try {
    return new JsonParser(bytes, options).parse();
  } catch (error) {
    if (isServingError(error, "FormatError")) throw invalid(`JSON Parse error: ${error.message}`);
    throw error;
  }
}

/** The bytes of a `{"b64": "..."}`. */
export function bytesFromObject(value: JsonObject): Uint8Array {
  if (!isBinary(value)) throw invalid(`JSON Value: ${shown(value)} not formatted correctly for base64 data`);
  const text = String(value["b64"]).replace(/\s/g, "");
  // Standard alphabet; padding may be left out but not be wrong.
  const body = text.replace(/={1,2}$/, "");
  const padded = body.length !== text.length;
  if (!/^[A-Za-z0-9+/]*$/.test(body) || body.length % 4 === 1 || (padded && text.length % 4 !== 0))
    throw invalid("Unable to base64 decode");
  return Buffer.from(body, "base64");
}

/** `{"b64": "..."}` is a value, whatever names the inputs have. */
export function isBinary(value: JsonObject): boolean {
  const names = Object.keys(value);
  return names.length === 1 && names[0] === "b64" && typeof value["b64"] === "string";
}

/** Whether a value has names. */
export function isObject(value: JsonValue): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}

/** The type of a value as RapidJSON names it. */
export function typeName(value: JsonValue): string {
  if (value === null) return "Null";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "number" || typeof value === "bigint") return "Number";
  if (Array.isArray(value)) return "Array";
  return isObject(value) ? "Object" : "String";
}

/** A value as error messages show it. */
export function shown(value: JsonValue): string {
  return Buffer.from(dump(value), "latin1").toString();
}

/** A request that is at fault. */
export function invalid(text: string): ServingError {
  return refusal("INVALID_ARGUMENT", text);
}
