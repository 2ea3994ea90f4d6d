/** A REST server with the metadata of the recorded models; tests say what it answers to everything else. */
import { PredictionClient } from "../../src/client/prediction-client.js";
import { exchanges } from "../server/golden-exchanges.js";
import { type CannedAnswer, type SeenRequest, startCannedRestServer } from "../support/canned-rest-server.js";

/** A running peer and a client of it. */
export interface RecordedPeer {
  readonly client: PredictionClient;
  /** Where it listens. */
  readonly url: string;
  /** Answer to the next POSTs. */
  answer: CannedAnswer;
  /** Bodies of the POSTs so far, as text. */
  readonly sent: string[];
  /** All requests so far. */
  readonly seen: readonly SeenRequest[];
  close(): Promise<void>;
}

/** The body of a recorded answer. */
export function recordedBody(id: string): Uint8Array {
  const file = id.split("/")[0] ?? "";
  const { body, body_b64 } = exchanges(file).find((exchange) => exchange.id === id)?.response ?? {};
  if (body_b64 !== undefined) return Buffer.from(body_b64, "base64");
  if (body === undefined) throw new Error(`no answer of ${id} was recorded`);
  return new TextEncoder().encode(body);
}

/** Start a peer on a free port. */
export async function startRecordedPeer(): Promise<RecordedPeer> {
  const sent: string[] = [];
  const server = await startCannedRestServer(({ method, target, body }) => {
    if (method === "GET") return { status: 200, body: recordedBody(`metadata-status/rest/metadata_${target.split("/")[3]}`) };
    sent.push(new TextDecoder().decode(body));
    return peer.answer;
  });
  const client = new PredictionClient(server.url);
  const peer: RecordedPeer = {
    client,
    url: server.url,
    answer: { status: 500 },
    sent,
    seen: server.seen,
    async close() {
      await client.close();
      await server.close();
    },
  };
  return peer;
}
