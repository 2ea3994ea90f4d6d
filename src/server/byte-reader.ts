/** Lines and bytes of a stream as they are asked for. */
import type { Readable } from "node:stream";

/** Beyond this many bytes that nobody has asked for the stream has to wait. */
const maxWaitingBytes = 1024 * 1024;

/** Reads a stream piece by piece. All reads reject once it has ended. */
export class ByteReader {
  readonly #stream: Readable;
  readonly #waiting: Buffer[] = [];
  #length = 0;
  #hasEnded = false;
  #wake: () => void = () => undefined;

  constructor(stream: Readable) {
    this.#stream = stream;
    stream.on("data", (chunk: Buffer) => {
      this.#waiting.push(chunk);
      this.#length += chunk.length;
      if (this.#length > maxWaitingBytes) stream.pause();
      this.#wake();
    });
    for (const event of ["end", "close", "error"]) {
      stream.on(event, () => {
        this.#hasEnded = true;
        this.#wake();
      });
    }
  }

  /** Whether bytes are there already. */
  get hasBytes(): boolean {
    return this.#length > 0;
  }

  /** The next line, one character per byte, without its LF or CR LF; `undefined` if it has more bytes than allowed. */
  async line(maxBytes: number): Promise<string | undefined> {
    for (;;) {
      const buffer = this.#joined();
      const end = buffer.indexOf(0x0a);
      if ((end < 0 ? buffer.length : end) > maxBytes) return undefined;
      if (end >= 0) {
        this.#keep(buffer.subarray(end + 1));
        return buffer.toString("latin1", 0, buffer[end - 1] === 0x0d ? end - 1 : end);
      }
      await this.#more();
    }
  }

  /** Exactly so many bytes. */
  async bytes(count: number): Promise<Buffer> {
    while (this.#length < count) await this.#more();
    const buffer = this.#joined();
    this.#keep(buffer.subarray(count));
    return buffer.subarray(0, count);
  }

  #joined(): Buffer {
    if (this.#waiting.length > 1) this.#waiting.splice(0, this.#waiting.length, Buffer.concat(this.#waiting));
    return this.#waiting[0] ?? Buffer.alloc(0);
  }

  /** What is left of the joined bytes; nothing shall not keep the memory of a large body. */
  #keep(rest: Buffer): void {
    this.#waiting.splice(0, 1, ...(rest.length === 0 ? [] : [rest]));
    this.#length = rest.length;
  }

  async #more(): Promise<void> {
    const before = this.#length;
    this.#stream.resume();
    while (this.#length === before) {
      if (this.#hasEnded) throw new Error("the stream has ended");
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
