import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PredictionClient } from "../../src/client/prediction-client.js";
import { createInMemoryTransport } from "../../src/server/in-memory-transport.js";
import { type ModelServer, startModelServer } from "../../src/server/model-server.js";
import { type ContractFactory, contractCases, contractModels, describeContract, outcomeOf } from "./contract.js";

const factories: readonly ContractFactory[] = [
  {
    name: "gRPC",
    json: false,
    start: async ({ models, versionLabels }) => {
      const server = await startModelServer({ models, versionLabels });
      return { client: (options) => new PredictionClient("127.0.0.1", server.grpcPort, options), close: () => server.close() };
    },
  },
  {
    name: "REST",
    json: true,
    start: async ({ models, versionLabels }) => {
      const server = await startModelServer({ models, versionLabels });
      return { client: (options) => new PredictionClient(server.restTarget, options), close: () => server.close() };
    },
  },
  {
    name: "in-memory",
    json: false,
    start: async ({ models, versionLabels }) => ({
      client: (options) => new PredictionClient(createInMemoryTransport(models, { versionLabels }), options),
      close: async () => undefined,
    }),
  },
];

for (const factory of factories) describeContract(factory);

describe("gRPC and REST", () => {
  let server: ModelServer;
  let grpc: PredictionClient;
  let rest: PredictionClient;
  beforeAll(async () => {
    server = await startModelServer(contractModels());
    grpc = new PredictionClient(server.grpcTarget);
    rest = new PredictionClient("127.0.0.1", server.restPort, { transport: "rest" });
  });
  afterAll(async () => {
    await Promise.all([grpc.close(), rest.close()]);
    await server.close();
  });

  it.each(contractCases.map((test) => [test.title, test] as const))("answer alike: %s", async (_title, test) => {
    const [overGrpc, overRest] = await Promise.all([outcomeOf(grpc, test), outcomeOf(rest, test)]);
    expect(overRest).toEqual(overGrpc);
  });
});
