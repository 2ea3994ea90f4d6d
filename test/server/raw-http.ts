/** HTTP requests byte for byte, since HTTP clients tidy up targets and headers. */
import { connect, type Socket } from "node:net";

/** An answer as it came. */
export interface RawAnswer {
  readonly status: number;
  readonly reason: string;
  /** By lower-case name. */
  readonly headers: ReadonlyMap<string, string>;
  /** As they came, in order. */
  readonly headerList: readonly (readonly [string, string])[];
  readonly body: Buffer;
}

/** What came back on one connection. */
export interface Conversation {
  /** Interim answers (100 Continue) are among them. */
  readonly answers: readonly RawAnswer[];
  /** Whether the server has closed the connection behind them. */
  readonly connection: "open" | "closed";
}

/** Bytes to write, or a time to wait before the next ones. */
export type Part = Uint8Array | { readonly pauseMs: number };

/** What a conversation waits for. */
export interface Wanted {
  /** How many final answers. */
  readonly answers: number;
  readonly timeoutMs: number;
  /** How long the server may take to close the connection behind the last of them. @defaultValue 60 */
  readonly closeGraceMs?: number;
}

/** Send bytes on a connection of their own and read one answer. */
export async function rawHttp(port: number, request: Uint8Array): Promise<RawAnswer> {
  const { answers } = await converse(port, [request], { answers: 1, timeoutMs: 5_000 });
  const last = answers.at(-1);
  if (last === undefined) throw new Error("the connection ended without an answer");
  return last;
}

/** Write the parts to a connection of their own; ends behind the wanted number of final answers, at its end or after a time. */
export function converse(
  port: number,
  parts: readonly Part[],
  { answers: wanted, timeoutMs, closeGraceMs = 60 }: Wanted,
): Promise<Conversation> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => void write(socket, parts));
    let received = Buffer.alloc(0);
    let hasEnded = false;
    const finish = () => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ answers: parseAnswers(received, hasEnded), connection: hasEnded ? "closed" : "open" });
    };
    let timer = setTimeout(finish, timeoutMs);
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      const final = parseAnswers(received, false).filter(({ status }) => status >= 200);
      if (wanted === 0 || final.length < wanted) return;
      clearTimeout(timer);
      timer = setTimeout(finish, closeGraceMs);
    });
    const ended = () => {
      hasEnded = true;
      finish();
    };
    socket.on("end", ended);
    // A server that closes with bytes unread resets the connection.
    socket.on("error", ended);
  });
}

async function write(socket: Socket, parts: readonly Part[]): Promise<void> {
  for (const part of parts) {
    if (part instanceof Uint8Array) socket.write(part);
    else await new Promise((resolve) => setTimeout(resolve, part.pauseMs));
  }
}

/** The whole answers at the start of what came. */
function parseAnswers(received: Buffer, hasEnded: boolean): RawAnswer[] {
  const answers: RawAnswer[] = [];
  for (let rest = received; rest.length > 0; ) {
    const end = rest.indexOf("\r\n\r\n");
    if (end < 0) break;
    const head = parseHead(rest.toString("latin1", 0, end));
    const length = head.status < 200 ? 0 : Number(head.headers.get("content-length") ?? (hasEnded ? rest.length : Number.NaN));
    const body = rest.subarray(end + 4, end + 4 + length);
    if (Number.isNaN(length) || (body.length < length && !hasEnded)) break;
    answers.push({ ...head, body });
    rest = rest.subarray(end + 4 + body.length);
  }
  return answers;
}

function parseHead(text: string): Omit<RawAnswer, "body"> {
  const [statusLine = "", ...lines] = text.split("\r\n");
  const headerList = lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)] as const);
  const [, status = "", ...reason] = statusLine.split(" ");
  const headers = new Map(headerList.map(([name, value]) => [name.toLowerCase(), value]));
  return { status: Number(status), reason: reason.join(" "), headers, headerList };
}
