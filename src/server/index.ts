/** Entry `tfserving/server`: a model server inside the process, for tests, demos and development. */
export type { AddedFault, Fault, FaultMatch, Faults } from "./faults.js";
export type { FrontOptions } from "./front-options.js";
export { createInMemoryTransport, type InMemoryTransport, type InMemoryTransportOptions } from "./in-memory-transport.js";
export type { LoadServable, VersionName } from "./load-version.js";
export type { SetVersionState } from "./model-manager.js";
export type { ModelMap, VersionLabels } from "./model-map.js";
export type { LoadFailure, ModelOptions, StateChange } from "./model-options.js";
export { type ModelServer, type ModelServerOptions, type RestartOptions, startModelServer } from "./model-server.js";
export type { ServerMethod, ServerRequest } from "./request-log.js";
export {
  type ClassifyExamples,
  type ExampleFeatures,
  type InputsOf,
  type OutputsOf,
  type PredictContext,
  type RegressExamples,
  type Servable,
  type ServableDefinition,
  type ServableOutputs,
  type SignatureInit,
  servable,
  type TensorSpecInit,
} from "./servable.js";
export type { VersionError } from "./served-model.js";
