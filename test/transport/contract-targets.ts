/** What the suite runs over: the embedded server through every transport, and real servers. */
import { type ClientOptions, PredictionClient } from "../../src/index.js";
import { createInMemoryTransport, startModelServer } from "../../src/server/index.js";
import type { ContractTarget, ContractTransport } from "./contract.js";
import { type ContractModels, contractConfig, contractModels, javascriptOnly } from "./contract-models.js";
import { startDown, startSilentGrpc, startSilentRest, startSilentTransport } from "./contract-peers.js";

type NetworkTransport = Exclude<ContractTransport, "in-memory">;

/** Options of every client over a transport. */
const optionsOver: Readonly<Record<ContractTransport, ClientOptions>> = {
  "in-memory": {},
  gRPC: {},
  "REST column": { restFormat: "column" },
  "REST row": { restFormat: "row" },
};

const inMemory: ContractTarget = {
  transport: "in-memory",
  lacks: {},
  open: async () => {
    const served = contractModels();
    const { models, versionLabels } = served;
    const createClient = (options?: ClientOptions) => new PredictionClient(createInMemoryTransport(models, { versionLabels }), options);
    const client = createClient();
    return {
      client,
      createClient,
      config: contractConfig("/models", javascriptOnly),
      startSilent: startSilentTransport,
      startDown: () => Promise.reject(new Error("a case that needs a connection has to say so")),
      startScripted: async () => {
        const transport = createInMemoryTransport(scriptedModels(served));
        const scripted = new PredictionClient(transport);
        return { client: scripted, setVersionState: transport.setVersionState, close: () => scripted.close({ force: true }) };
      },
      close: async () => {
        served.release();
        await client.close({ force: true });
      },
    };
  },
};

function embedded(transport: NetworkTransport): ContractTarget {
  return {
    transport,
    lacks: {},
    open: async () => {
      const served = contractModels();
      const { models, versionLabels } = served;
      const server = await startModelServer({ models, versionLabels });
      const target = transport === "gRPC" ? server.grpcTarget : server.restTarget;
      const context = contextOf(transport, target, "/models", javascriptOnly);
      return {
        ...context,
        startScripted: async () => {
          const own = await startModelServer({ models: scriptedModels(served) });
          const client = new PredictionClient(transport === "gRPC" ? own.grpcTarget : own.restTarget, optionsOver[transport]);
          const close = async () => {
            await client.close({ force: true });
            await own.close();
          };
          return { client, setVersionState: own.setVersionState, close };
        },
        close: async () => {
          served.release();
          await context.client.close({ force: true });
          await server.close();
        },
      };
    },
  };
}

function scriptedModels({ models }: ContractModels): Pick<ContractModels["models"], string> {
  return { half_plus_two: models["half_plus_two"] ?? {} };
}

/** The embedded server over each transport: the four targets that every run has. */
export const embeddedTargets: readonly ContractTarget[] = [inMemory, embedded("gRPC"), embedded("REST column"), embedded("REST row")];

/** Where a real server listens, each as `host:port`, and where its models lie. */
export interface RealServer {
  readonly grpc?: string | undefined;
  readonly rest?: string | undefined;
  /** The folder of the SavedModels as the server sees it; without it nothing is reloaded. */
  readonly modelsPath?: string | undefined;
}

/** A running server that serves the SavedModels of the suite with its labels, over the transports it listens on. */
export function realTargets({ grpc, rest, modelsPath }: RealServer): ContractTarget[] {
  const folder = modelsPath === undefined ? { "models folder": "TFSERVING_MODELS does not say where the server's models are" } : {};
  const lacks = {
    "JavaScript models": "no SavedModel has it",
    "scripted server": "states and models of a real server are not for tests to change",
    ...folder,
  };
  const target = (transport: NetworkTransport, address: string): ContractTarget => ({
    transport,
    lacks,
    open: async () => {
      const context = contextOf(transport, address, modelsPath ?? "", []);
      const startScripted = () => Promise.reject(new Error("a case that needs a scripted server has to say so"));
      return { ...context, startScripted, close: () => context.client.close({ force: true }) };
    },
  });
  const overRest = (address: string) => (["REST column", "REST row"] as const).map((transport) => target(transport, `http://${address}`));
  return [...(grpc === undefined ? [] : [target("gRPC", grpc)]), ...(rest === undefined ? [] : overRest(rest))];
}

function contextOf(transport: NetworkTransport, target: string, modelsPath: string, more: readonly string[]) {
  const options = optionsOver[transport];
  const createClient = (own?: ClientOptions) => new PredictionClient(target, { ...options, ...own });
  return {
    client: createClient(),
    createClient,
    config: contractConfig(modelsPath, more),
    startSilent: () => (transport === "gRPC" ? startSilentGrpc() : startSilentRest(options)),
    startDown: () => startDown(transport === "gRPC" ? "127.0.0.1:" : "http://127.0.0.1:", options),
  };
}
