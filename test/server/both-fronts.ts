/** Servers and clients for tests that hold over gRPC and REST alike. */
import { PredictionClient } from "../../src/client/prediction-client.js";
import { type ModelServer, type Servable, startModelServer } from "../../src/server/index.js";
import { halfPlusTwo } from "./golden-models.js";

/** Which front, and how a test names it. */
export const fronts = [
  ["gRPC", "grpc"],
  ["REST", "rest"],
] as const;

export type Front = (typeof fronts)[number][1];

/** A model that answers as half_plus_two once it is released. */
export interface HeldModel {
  readonly model: Servable;
  /** How many calls have reached the model. */
  runs(): number;
  release(): void;
}

export function heldModel(): HeldModel {
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let runs = 0;
  const predict: Servable["predict"] = async (inputs, context) => {
    runs++;
    await released;
    return halfPlusTwo.predict(inputs, context);
  };
  return { model: { ...halfPlusTwo, predict }, runs: () => runs, release };
}

/** A server of half_plus_two and a held model, and clients of it; `close` ends all of them. */
export async function startBoth() {
  const held = heldModel();
  const server = await startModelServer({ models: { half_plus_two: halfPlusTwo, held: held.model } });
  const clients: PredictionClient[] = [];
  return {
    server,
    held,
    /** A client of its own connections, which sends each call once. */
    client: (front: Front): PredictionClient => {
      const client = new PredictionClient(targetOf(server, front), { retry: false, timeoutMs: 20_000 });
      clients.push(client);
      return client;
    },
    close: async () => {
      held.release();
      server.resume();
      await Promise.all(clients.map((client) => client.close({ force: true })));
      await server.close();
    },
  };
}

export function targetOf(server: ModelServer, front: Front): string {
  return front === "grpc" ? server.grpcTarget : server.restTarget;
}
