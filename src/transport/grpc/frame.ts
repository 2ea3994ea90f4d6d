/**
 * Messages that write themselves into grpc-js's frame, which saves a buffer and a copy of every request.
 *
 * grpc-js 1.14 asks an outgoing message only for `length` and `copy(target, at)`, but promises to nobody that it does: a check at the
 * second message shows whether it still holds, and messages become real Buffers until then, and where it does not.
 */

/** A message that knows its size and writes itself anywhere. */
export interface LazyMessage {
  readonly length: number;
  /** Write the whole message into `target`, starting at `at`; gives back the number of bytes. */
  copy(target: Uint8Array, at: number): number;
  /** What `copy` threw: grpc-js ends the call then, but keeps the error to itself. */
  readonly failure?: unknown;
}

/** Whether grpc-js takes lazy messages; not before the check has shown it. */
let isAccepted = false;

let check: Promise<void> | undefined;

/** Check grpc-js, once; settles when that is done. */
export function checkFraming(): Promise<void> {
  check ??= acceptsLazyMessages().then((accepted) => {
    isAccepted = accepted;
  });
  return check;
}

let isFirst = true;

/** A message as grpc-js takes it: itself where that is safe, else written into a Buffer at once. */
export function framed(message: LazyMessage): Buffer {
  // The cast is what this file is about: grpc-js types the parameter as Buffer and uses two of its members.
  if (isAccepted) return message as unknown as Buffer;
  // A process that makes one call has no use for the check, which takes half a millisecond of its start.
  if (isFirst) isFirst = false;
  else void checkFraming();
  const buffer = Buffer.allocUnsafe(message.length);
  message.copy(buffer, 0);
  return buffer;
}

/** The message that {@link framed} handed out as it is; nothing for a real Buffer, which need not be kept. */
export function lazyMessage(request: Buffer): LazyMessage | undefined {
  return Buffer.isBuffer(request) ? undefined : request;
}

/** The piece of grpc-js that frames messages, as far as the check needs it. */
interface FramingModule {
  CompressionFilterFactory: new (
    channel: unknown,
    options: object,
  ) => { createFilter(): { sendMessage(message: Promise<{ message: unknown; flags: number }>): Promise<{ message: Uint8Array }> } };
}

/** Whether grpc-js frames a lazy message to the same bytes as a Buffer, and asks it for nothing else. */
async function acceptsLazyMessages(): Promise<boolean> {
  try {
    const load = process.getBuiltinModule("node:module").createRequire(import.meta.url);
    const { CompressionFilterFactory } = load("@grpc/grpc-js/build/src/compression-filter.js") as FramingModule;
    const frame = async (message: unknown) => {
      const filter = new CompressionFilterFactory(undefined, {}).createFilter();
      return (await filter.sendMessage(Promise.resolve({ message, flags: 0 }))).message;
    };
    const buffer = Buffer.from("a message to compare");
    const lazy: LazyMessage = { length: buffer.length, copy: (target, at) => buffer.copy(target, at) };
    return Buffer.compare(await frame(strict(lazy)), await frame(buffer)) === 0;
  } catch {
    // Whatever it is, this grpc-js is built in another way: its documented interface, a Buffer, is used instead.
    return false;
  }
}

/** The same message, but asking it for anything else throws. */
function strict(message: LazyMessage): LazyMessage {
  return new Proxy(message, {
    get(target, key) {
      if (key === "length" || key === "copy") return target[key];
      throw new Error(`grpc-js asked a message for ${String(key)}`);
    },
  });
}
