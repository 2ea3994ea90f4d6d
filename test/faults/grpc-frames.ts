/** HTTP/2 frames (RFC 9113), header blocks (RFC 7541) and gRPC messages as bytes, written by hand so that each can be wrong. */

/** Frame types (RFC 9113, section 6). */
export const frameTypes = {
  data: 0,
  headers: 1,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

/** Frame flags; the first is called ACK on SETTINGS and PING. */
export const flags = { endStream: 1, ack: 1, endHeaders: 4, padded: 8 } as const;

/** Error codes (RFC 9113, section 7). */
export const errorCodes = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  INTERNAL_ERROR: 2,
  FLOW_CONTROL_ERROR: 3,
  SETTINGS_TIMEOUT: 4,
  STREAM_CLOSED: 5,
  FRAME_SIZE_ERROR: 6,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  COMPRESSION_ERROR: 9,
  CONNECT_ERROR: 10,
  ENHANCE_YOUR_CALM: 11,
  INADEQUATE_SECURITY: 12,
  HTTP_1_1_REQUIRED: 13,
} as const;

/** Bytes of a frame's head. */
export const frameHeadSize = 9;

/** One frame; `length` is what its head declares. */
export function frame(type: number, flagBits: number, streamId: number, payload: Uint8Array, length = payload.length): Buffer {
  const bytes = Buffer.alloc(frameHeadSize + payload.length);
  bytes.writeUIntBE(length, 0, 3);
  bytes[3] = type;
  bytes[4] = flagBits;
  bytes.writeUInt32BE(streamId, 5);
  bytes.set(payload, frameHeadSize);
  return bytes;
}

/** A SETTINGS frame of identifiers and values. */
export function settings(values: readonly (readonly [number, number])[] = []): Buffer {
  const payload = Buffer.alloc(6 * values.length);
  for (const [index, [identifier, value]] of values.entries()) {
    payload.writeUInt16BE(identifier, 6 * index);
    payload.writeUInt32BE(value, 6 * index + 2);
  }
  return frame(frameTypes.settings, 0, 0, payload);
}

/** The answer to the other side's SETTINGS. */
export const settingsAck = frame(frameTypes.settings, flags.ack, 0, Buffer.alloc(0));

/** A GOAWAY frame: no stream above `lastStreamId` was looked at. */
export function goaway(lastStreamId: number, code: number, debugText = ""): Buffer {
  return frame(frameTypes.goaway, 0, 0, Buffer.concat([uint32(lastStreamId), uint32(code), Buffer.from(debugText)]));
}

/** A RST_STREAM frame. */
export function rstStream(streamId: number, code: number): Buffer {
  return frame(frameTypes.rstStream, 0, streamId, uint32(code));
}

/** A WINDOW_UPDATE frame. */
export function windowUpdate(streamId: number, increment: number): Buffer {
  return frame(frameTypes.windowUpdate, 0, streamId, uint32(increment));
}

/** A PING frame. */
export const ping = frame(frameTypes.ping, 0, 0, Buffer.alloc(8));

/** Headers by name; a value of bytes is sent as it is, an array as several headers of one name. */
export type Headers = Readonly<Record<string, string | Uint8Array | readonly string[]>>;

/** A header block of literals that are neither indexed nor Huffman coded. */
export function headerBlock(headers: Headers): Buffer {
  const entries = Object.entries(headers).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((item: string | Uint8Array) => [
      Buffer.of(0),
      hpackText(Buffer.from(name)),
      hpackText(typeof item === "string" ? Buffer.from(item) : item),
    ]),
  );
  return Buffer.concat(entries.flat());
}

/** A whole HEADERS frame. */
export function headersFrame(streamId: number, headers: Headers, flagBits = 0): Buffer {
  return frame(frameTypes.headers, flags.endHeaders | flagBits, streamId, headerBlock(headers));
}

/** Length and bytes of a text in a header block: an integer with a prefix of 7 bits (RFC 7541, 5.1 and 5.2). */
function hpackText(bytes: Uint8Array): Buffer {
  const head: number[] = [Math.min(bytes.length, 127)];
  if (bytes.length >= 127) {
    let rest = bytes.length - 127;
    for (; rest >= 128; rest = Math.floor(rest / 128)) head.push((rest % 128) | 128);
    head.push(rest);
  }
  return Buffer.concat([Buffer.from(head), bytes]);
}

/** The most bytes of a frame that nobody has to allow. */
export const maxFrameSize = 16_384;

/** Bytes in as many DATA frames as they need. */
export function dataFrames(streamId: number, bytes: Uint8Array): Buffer {
  const frames = [];
  for (let start = 0; start < bytes.length; start += maxFrameSize) {
    frames.push(frame(frameTypes.data, 0, streamId, bytes.subarray(start, start + maxFrameSize)));
  }
  return Buffer.concat(frames);
}

/** A gRPC message with its prefix; `length` is what that declares. */
export function grpcMessage(bytes: Uint8Array, { isCompressed = false, length = bytes.length } = {}): Buffer {
  return Buffer.concat([Buffer.of(isCompressed ? 1 : 0), uint32(length), bytes]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
