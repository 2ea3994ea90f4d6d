/** Lines and bytes of a stream as they are asked for. */
import type { Readable } from "node:stream";

/** Beyond this many bytes that nobody has asked for the stream has to wait. */
const maxWaitingBytes = 1024 * 1024;

const noBytes = Buffer.alloc(0);

/** Bytes that come in at one end and go out at the other, in memory of at most twice their size however small the pieces are. */
export class ByteQueue {
  /** The bytes, and room for more behind them. */
  #buffer: Buffer = noBytes;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Copies the bytes. */
  push(bytes: Uint8Array): void {
    const length = this.#length + bytes.length;
    if (length > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(length, 2 * this.#length));
      grown.set(this.#buffer.subarray(0, this.#length));
      this.#buffer = grown;
    }
    this.#buffer.set(bytes, this.#length);
    this.#length = length;
  }

  /** Takes out the first so many bytes, which are there; nothing is written into them any more. */
  take(count: number): Buffer {
    const taken = this.#buffer.subarray(0, count);
    this.#length -= count;
    // Nothing shall not keep the memory of a large body.
    this.#buffer = this.#length === 0 ? noBytes : this.#buffer.subarray(count);
    return taken;
  }

  /** Where a byte is for the first time at or behind a position; -1 if nowhere. */
  indexOf(byte: number, from: number): number {
    return this.#buffer.subarray(0, this.#length).indexOf(byte, from);
  }
}

/** Reads a stream piece by piece. All reads reject once it has ended. */
export class ByteReader {
  readonly #stream: Readable;
  readonly #waiting = new ByteQueue();
  #hasEnded = false;
  #wake: () => void = () => undefined;

  constructor(stream: Readable) {
    this.#stream = stream;
    stream.on("data", (chunk: Buffer) => {
      this.#waiting.push(chunk);
      if (this.#waiting.length > maxWaitingBytes) stream.pause();
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
    return this.#waiting.length > 0;
  }

  /** The next line, one character per byte, without its LF or CR LF; `undefined` if it has more bytes than allowed. */
  async line(maxBytes: number): Promise<string | undefined> {
    for (let searched = 0; ; await this.#more()) {
      const end = this.#waiting.indexOf(0x0a, searched);
      searched = this.#waiting.length;
      if ((end < 0 ? searched : end) > maxBytes) return undefined;
      if (end >= 0) {
        const line = this.#waiting.take(end + 1);
        return line.toString("latin1", 0, line[end - 1] === 0x0d ? end - 1 : end);
      }
    }
  }

  /** Exactly so many bytes. */
  async bytes(count: number): Promise<Buffer> {
    while (this.#waiting.length < count) await this.#more();
    return this.#waiting.take(count);
  }

  async #more(): Promise<void> {
    const before = this.#waiting.length;
    this.#stream.resume();
    while (this.#waiting.length === before) {
      if (this.#hasEnded) throw new Error("the stream has ended");
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
