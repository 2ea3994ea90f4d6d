/** HTTP requests byte for byte, since HTTP clients tidy up targets and headers. */
import { connect } from "node:net";

/** An answer as it came. */
export interface RawAnswer {
  readonly status: number;
  readonly reason: string;
  /** By lower-case name. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

/** Send bytes on a connection of their own and read one answer, whose length the server has to say. */
export function rawHttp(port: number, request: Uint8Array): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(request));
    let received = Buffer.alloc(0);
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      const answer = parse(received);
      if (answer === undefined) return;
      socket.destroy();
      resolve(answer);
    });
    socket.on("error", reject);
    socket.on("end", () => reject(new Error(`connection ended after: ${received.toString("latin1")}`)));
  });
}

function parse(received: Buffer): RawAnswer | undefined {
  const end = received.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const [statusLine = "", ...lines] = received.toString("latin1", 0, end).split("\r\n");
  const headers = new Map(
    lines.map((line): [string, string] => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 2)]),
  );
  const body = received.subarray(end + 4);
  if (body.length < Number(headers.get("content-length"))) return undefined;
  const [, status = "", ...reason] = statusLine.split(" ");
  return { status: Number(status), reason: reason.join(" "), headers, body };
}
