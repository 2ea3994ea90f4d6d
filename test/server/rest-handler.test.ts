import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ModelServer, startModelServer } from "../../src/server/index.js";
import { withoutGraphNames } from "./golden-compare.js";
import { type Exchange, exchanges, goldenLabels, goldenModels, restRequest } from "./golden-models.js";
import { rawHttp } from "./raw-http.js";

let server: ModelServer;
beforeAll(async () => {
  server = await startModelServer({ models: goldenModels, versionLabels: goldenLabels });
});
afterAll(() => server.close());

/** Exchanges that need a graph, or what the embedded server leaves out. */
const left: readonly RegExp[] = [
  /path\/head/, // HEAD of the real server sends a body that cannot be read
  /init_op/, // __saved_model_init_op is no signature of a servable
  /garbage/, // what the parser of examples makes of bytes that are none
  /surrogate_low/, // needs the graph of dtype_zoo
  /escape_not_utf8/, // names are text here: the answer shows a replacement character
];

function answerable({ id, model, request, response, depends_on_model: needsGraph, transport }: Exchange): boolean {
  if (transport !== "rest" || request.raw !== undefined || response.status === undefined) return false;
  if (left.some((pattern) => pattern.test(id) || pattern.test(request.target ?? "")) || request.method === "HEAD") return false;
  const known = model === "" || model === null || model in goldenModels || response.status >= 400;
  return known && (!needsGraph || ["half_plus_two", "multi_version"].includes(model ?? ""));
}

const served = [...exchanges("errors-rest"), ...exchanges("predict-rest"), ...exchanges("metadata-status")].filter(answerable);
/** Recorded metadata names nodes of graphs, and its order is that of a hash map. */
const recorded = served.filter(({ response }) => response.body?.includes('"model_spec":') !== true);

function header(exchange: Exchange, name: string): string | undefined {
  return exchange.response.headers.find(([key]) => key.toLowerCase() === name)?.[1];
}

describe("createRestServer", () => {
  it("has recorded exchanges to answer", () => {
    expect(recorded.length).toBe(259);
  });

  it.each(recorded.map((exchange): [string, Exchange] => [exchange.id, exchange]))(
    "answers %s as the real server did",
    async (_id, exchange) => {
      const { response } = exchange;
      const answer = await rawHttp(server.restPort, restRequest(exchange));
      const expected = response.body_b64 === undefined ? response.body : Buffer.from(response.body_b64, "base64").toString("latin1");
      const text = response.body_b64 === undefined ? answer.body.toString() : answer.body.toString("latin1");
      expect(withoutGraphNames(text)).toBe(withoutGraphNames(expected ?? ""));
      expect({ status: answer.status, reason: answer.reason }).toEqual({ status: response.status, reason: response.reason });
      for (const name of ["content-type", "connection"]) expect(answer.headers.get(name)).toBe(header(exchange, name));
      expect(answer.headers.get("content-length")).toBe(String(answer.body.length));
    },
  );
});
