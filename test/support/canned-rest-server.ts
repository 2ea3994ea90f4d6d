/** An HTTP server that records what it is asked and answers with prepared bytes. */
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";

/** What a canned server answers; `hang` never does. */
export type CannedAnswer =
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: Uint8Array | string }
  | "hang";

/** A request as it came. */
export interface SeenRequest {
  readonly method: string;
  readonly target: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: Uint8Array;
}

/** A running canned server. */
export interface CannedRestServer {
  readonly url: string;
  /** Requests so far, oldest first. */
  readonly seen: SeenRequest[];
  /** Called for each request; may be changed between calls. */
  answer: (request: SeenRequest) => CannedAnswer;
  close(): Promise<void>;
}

/** Start a canned server on a free port of the loopback interface. */
export async function startCannedRestServer(answer: CannedRestServer["answer"] = () => ({ status: 500 })): Promise<CannedRestServer> {
  const seen: SeenRequest[] = [];
  const server: Server = createServer((request, response) => {
    const chunks: Uint8Array[] = [];
    request.on("data", (chunk: Uint8Array) => chunks.push(chunk));
    request.on("end", () => {
      const { method = "", url: target = "", headers } = request;
      const one = { method, target, headers, body: Buffer.concat(chunks) };
      seen.push(one);
      const given = canned.answer(one);
      if (given === "hang") return;
      response.writeHead(given.status, given.headers ?? { "content-type": "application/json" });
      response.end(given.body ?? "");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const canned: CannedRestServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    answer,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return canned;
}
