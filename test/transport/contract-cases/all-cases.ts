/** The whole suite. */
import type { ContractCase } from "../contract.js";
import { clientCases } from "./client.js";
import { dtypeCases } from "./dtypes.js";
import { endingCases } from "./endings.js";
import { exampleCases } from "./examples.js";
import { modelClientCases } from "./model-client.js";
import { predictCases } from "./predict.js";
import { readCases } from "./reads.js";
import { reloadAndWaitCases } from "./reload-and-wait.js";

/** Every case, by subject. */
export const contractCases: readonly ContractCase[] = [
  ...predictCases,
  ...dtypeCases,
  ...exampleCases,
  ...readCases,
  ...reloadAndWaitCases,
  ...modelClientCases,
  ...endingCases,
  ...clientCases,
];
