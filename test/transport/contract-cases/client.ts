/** What all calls of a client share: concurrency, metadata, its end. */
import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { isServingError, type PredictionClient, tensor } from "../../../src/index.js";
import { type ContractCase, type ContractContext, type ContractKind, fails } from "../contract.js";

const x = tensor("float32", [3], [1, 2, 5]);

function shared(kind: ContractKind, title: string, run: ContractCase["run"], expected: unknown): ContractCase {
  return { method: "client", kind, title, run, expected };
}

async function withOwn<T>(own: PredictionClient, work: (own: PredictionClient) => Promise<T>): Promise<T> {
  return work(own).finally(() => own.close({ force: true }));
}

/** What an error says of itself. */
async function errorOf({ client }: ContractContext): Promise<unknown> {
  const error: unknown = await client.predict({ name: "half_plus_two", version: 9 }, { x }).catch((reason: unknown) => reason);
  assert.ok(isServingError(error, "RpcError"));
  const { name, code, retryable, modelSpec, serverMessage } = error;
  return { name, code, retryable, modelSpec, serverMessage };
}

/** Cases of the client itself. */
export const clientCases: readonly ContractCase[] = [
  shared(
    "ok",
    "keeps 50 calls at a time apart, and Node warns of no leak",
    async ({ client }) => {
      const warnings: string[] = [];
      const note = ({ message }: Error) => warnings.push(message);
      process.on("warning", note);
      const results = await Promise.all(Array.from({ length: 50 }, (_, i) => client.predict("half_plus_two", { x: [i] })));
      // Node warns in a later turn.
      await setImmediate();
      process.off("warning", note);
      return [warnings, results.map(({ outputs }) => outputs["y"]?.values[0])];
    },
    [[], Array.from({ length: 50 }, (_, i) => i / 2 + 2)],
  ),
  shared(
    "ok",
    "outputs have no prototype",
    async ({ client }) => Object.getPrototypeOf((await client.predict("half_plus_two", { x })).outputs),
    null,
  ),
  shared(
    "ok",
    "sends metadata, also from a function",
    ({ createClient }) =>
      withOwn(createClient({ metadata: async () => ({ authorization: "token", "x-list": ["a", "b"] }) }), async (own) => {
        const { outputs } = await own.predict("half_plus_two", { x }, { metadata: { "x-request": "1" } });
        return outputs["y"]?.values;
      }),
    [2.5, 3, 4.5],
  ),
  shared(
    "wrong input",
    "rejects where the metadata function throws, saying so",
    ({ createClient }) => {
      const metadata = async () => {
        throw new Error("no token");
      };
      return withOwn(createClient({ metadata }), (own) => own.predict("half_plus_two", { x }));
    },
    fails("UNAUTHENTICATED", "the metadata function failed: no token"),
  ),
  shared("wrong version", "describes errors in full", errorOf, {
    name: "RpcError",
    code: "NOT_FOUND",
    retryable: false,
    modelSpec: { name: "half_plus_two", version: 9 },
    serverMessage: "Servable not found for request: Specific(half_plus_two, 9)",
  }),
  shared(
    "ok",
    "waits for running calls when it closes, and refuses new ones",
    async ({ createClient }) => {
      const own = createClient();
      const running = own.predict("half_plus_two", { x });
      const closing = own.close();
      const refused = await own.predict("half_plus_two", { x }).catch((error: { code: unknown }) => error.code);
      const { outputs } = await running;
      await Promise.all([closing, own.close()]);
      return [refused, outputs["y"]?.values];
    },
    ["FAILED_PRECONDITION", [2.5, 3, 4.5]],
  ),
  shared(
    "abort",
    "ends running calls when it is closed by force",
    async ({ startSilent }) => {
      const { client, called, close } = await startSilent();
      const running = client.getModelStatus("half_plus_two").finally(close);
      await called;
      await Promise.all([client.close({ force: true }), running]);
    },
    fails("CANCELLED", "closed by force"),
  ),
];
