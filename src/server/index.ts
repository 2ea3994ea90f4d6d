/** Entry `tfserving/server`: a model server inside the process, for tests, demos and development. */
export { createInMemoryTransport, type InMemoryTransportOptions } from "./in-memory-transport.js";
export type { ModelMap, VersionLabels } from "./model-manager.js";
export { type ModelServer, type ModelServerOptions, startModelServer } from "./model-server.js";
export {
  type InputsOf,
  type OutputsOf,
  type PredictContext,
  type Servable,
  type ServableDefinition,
  type ServableOutputs,
  type SignatureInit,
  servable,
  type TensorSpecInit,
} from "./servable.js";
