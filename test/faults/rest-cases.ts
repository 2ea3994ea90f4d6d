/** What REST peers do wrong. */
import type { FaultCase } from "./fault-case.js";
import { restConnectionCases } from "./rest-connection-cases.js";
import { late } from "./rest-expectations.js";
import { restHttpCases } from "./rest-http-cases.js";
import { restJsonCases } from "./rest-json-cases.js";
import { restMetadataCases } from "./rest-metadata-cases.js";

/** Short where time runs out, so that the suite does not take long; long elsewhere, so that a busy machine does not make it run out. */
function deadlineOf({ expected }: FaultCase): number {
  return expected === late ? 300 : 10_000;
}

/** Faults over HTTP/1. */
export const restCases: readonly FaultCase[] = [...restConnectionCases, ...restHttpCases, ...restJsonCases, ...restMetadataCases].map(
  (faultCase) => ({ timeoutMs: deadlineOf(faultCase), ...faultCase }),
);
