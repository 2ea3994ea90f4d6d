/** Text of requests, as the real server's protobuf library reads it. */

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** @throws TypeError if the bytes are not UTF-8: such a message is refused as a whole. */
export function decodeUtf8(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}
