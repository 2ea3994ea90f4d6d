/** Request metadata in our words -> grpc-js. */
import { Metadata } from "@grpc/grpc-js";
import { isBytes } from "../../tensor/values.js";
import type { CallMetadata } from "../transport.js";

/** The gRPC specification keeps these for itself ("Custom-Metadata" in PROTOCOL-HTTP2.md); grpc-js would send them. */
const reservedKey = /^(:|grpc-)/i;

const legalKey = /^[0-9a-z_.-]+$/i;

/**
 * The metadata of one call.
 *
 * @throws TypeError that names the key, if key or value cannot be sent.
 */
export function metadataToGrpc(metadata: CallMetadata): Metadata {
  const result = new Metadata();
  for (const [key, value] of Object.entries(metadata)) {
    if (reservedKey.test(key))
      throw new TypeError(`metadata "${key}": expected a key without ":" or "grpc-" in front, gRPC reserves those`);
    for (const item of Array.isArray(value) ? value : [value]) addItem(result, key, item);
  }
  return result;
}

function addItem(result: Metadata, key: string, item: unknown): void {
  const binary = key.toLowerCase().endsWith("-bin");
  if (binary ? !isBytes(item) : typeof item !== "string") {
    const got = isBytes(item) ? "a Uint8Array" : item === null ? "null" : `a ${typeof item}`;
    throw new TypeError(`metadata "${key}": expected ${binary ? "a Uint8Array, as the key ends in -bin" : "a string"}, got ${got}`);
  }
  try {
    result.add(key, isBytes(item) ? Buffer.from(item) : (item as string));
  } catch {
    // Not grpc-js's own error: it repeats the value, which may be a token.
    const what = legalKey.test(key) ? "a value of printable ASCII characters" : "a key of letters, digits, -, _ and .";
    throw new TypeError(`metadata "${key}": expected ${what}`);
  }
}
