/** Closing clients while calls run, on connections of their own and on shared ones. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PredictionClient } from "../../src/index.js";
import { type ModelServer, startModelServer } from "../../src/server/index.js";
import { models } from "./models.js";

describe.each(["grpc", "rest"] as const)("close() over %s", (transport) => {
  let server: ModelServer;
  beforeAll(async () => {
    server = await startModelServer({ models });
  });
  afterAll(() => server.close());

  const newClient = () => new PredictionClient(transport === "grpc" ? server.grpcTarget : server.restTarget);
  const count = () => server.requests.filter(({ method }) => method === "predict").length;

  /** Calls of clients, some of each, that the server has, and answers when it is resumed. */
  async function waiting(clients: readonly PredictionClient[], calls: number): Promise<Promise<unknown>[][]> {
    // Over REST they look the signature up.
    for (const client of clients) await client.predict("double", { x: [0] });
    server.pause();
    const before = count();
    const answer = async (client: PredictionClient, x: number) => (await client.predict("double", { x: [x] })).outputs.y?.toNested();
    const answers = clients.map((client) => Array.from({ length: calls }, (_, x) => answer(client, x)));
    // Some are to fail before anybody looks at them.
    for (const call of answers.flat()) call.catch(() => undefined);
    await expect.poll(count, { interval: 5, timeout: 10_000 }).toBe(before + clients.length * calls);
    return answers;
  }

  const answersOf = (calls: number) => Array.from({ length: calls }, (_, x) => [2 * x]);

  it("waits for running calls, refuses new ones, and ends then", async () => {
    const client = newClient();
    const [answers = []] = await waiting([client], 10);
    let isClosed = false;
    const closing = client.close().then(() => {
      isClosed = true;
    });
    await expect(client.predict("double", { x: [1] })).rejects.toThrow("the client is closed");
    expect(isClosed).toBe(false);
    server.resume();
    expect(await Promise.all(answers)).toEqual(answersOf(10));
    await closing;
  });

  it("with force ends running calls, and leaves those of another client alone", async () => {
    const [closed, other] = [newClient(), newClient()];
    const [answers = [], others = []] = await waiting([closed, other], 5);
    await closed.close({ force: true });
    server.resume();
    const outcomes = await Promise.allSettled(answers);
    expect(outcomes).toEqual(answers.map(() => expect.objectContaining({ reason: expect.objectContaining({ code: "CANCELLED" }) })));
    expect(await Promise.all(others)).toEqual(answersOf(5));
    expect((await other.predict("double", { x: [1] })).outputs.y?.toNested()).toEqual([2]);
    await other.close();
  });

  it("of many clients of one server, one after the other, costs none of the rest a call", async () => {
    const clients = Array.from({ length: 20 }, newClient);
    const failures: unknown[] = [];
    const calls: Promise<unknown>[] = [];
    for (const [index, client] of clients.entries()) {
      const rest = clients.slice(index);
      calls.push(...rest.map((open) => open.predict("double", { x: [1] }).catch((error: unknown) => failures.push(error))));
      await client.close();
    }
    await Promise.all(calls);
    expect(failures).toEqual([]);
  });
});
