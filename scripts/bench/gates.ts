/** `npm run bench -- gates`: what must hold of the measurements, and whether it does. */
import { benchCodec } from "./codec.js";
import { benchCold } from "./cold.js";
import type { GateValues } from "./compare.js";
import { benchE2e } from "./e2e.js";
import { allHold, type Gate } from "./gate.js";
import { benchMemory } from "./memory.js";
import { benchRest } from "./rest.js";
import { benchTFRecord } from "./tfrecord.js";
import { benchWindow } from "./window.js";

/** What is measured together. */
const measurements = {
  codec: () => benchCodec({ quick: true }),
  "e2e 1KB": () => benchE2e({ quick: true, sizes: ["1KB"] }),
  // Together, because P2-mean is over both.
  "e2e 100KB and 1MB": () => benchE2e({ quick: true, sizes: ["100KB", "1MB"] }),
  "e2e 19MB": () => benchE2e({ quick: true, sizes: ["19MB"] }),
  memory: () => benchMemory({ quick: true }),
  window: () => benchWindow({ quick: true }),
  cold: () => benchCold({ quick: true }),
  rest: () => benchRest({ quick: true }),
  tfrecord: () => benchTFRecord({ quick: true }),
} satisfies Record<string, () => Promise<GateValues>>;

type Measurement = keyof typeof measurements;

function atLeast(measurement: Measurement, id: string, bound: number, stretch?: number): Gate<Measurement> {
  return { id, measurement, relation: ">=", bound, stretch };
}

function atMost(measurement: Measurement, id: string, bound: number, stretch?: number): Gate<Measurement> {
  return { id, measurement, relation: "<=", bound, stretch };
}

const medium = ["100KB-c1", "100KB-c8", "100KB-c64", "1MB-c1", "1MB-c8", "1MB-c64"];

/** All gates; `docs/benchmarks.md` says what each measures. */
const gates: readonly Gate<Measurement>[] = [
  atLeast("codec", "E1", 20, 70),
  atLeast("codec", "E2", 5, 18),
  atLeast("codec", "D1", 35, 50),
  atLeast("codec", "D3", 8, 20),
  atLeast("codec", "D5", 4, 5),
  atLeast("e2e 1KB", "P1-c1", 0.95, 1.08),
  atLeast("e2e 1KB", "P1-c64", 0.95, 1.08),
  ...medium.map((at) => atLeast("e2e 100KB and 1MB", `P2-${at}`, 0.9)),
  atLeast("e2e 100KB and 1MB", "P2-mean", 0.95, 1.05),
  ...["c1", "c8"].map((at) => atLeast("e2e 19MB", `P3-${at}`, 0.95, 1)),
  ...["1KB-c1", "1KB-c8", "1KB-c64"].map((at) => atMost("e2e 1KB", `P4-${at}`, 1.1, 0.92)),
  ...medium.map((at) => atMost("e2e 100KB and 1MB", `P4-${at}`, 1.1, 0.92)),
  ...["19MB-c1", "19MB-c8"].map((at) => atMost("e2e 19MB", `P4-${at}`, 1.1, 0.92)),
  atLeast("e2e 1KB", "P7-nice", 1.5),
  atLeast("e2e 1KB", "P7-connect", 3),
  atMost("memory", "M1", 16_384),
  atLeast("window", "W1-c1", 15, 22),
  atLeast("window", "W1-c8", 40, 120),
  atMost("cold", "S1", 1.08, 1),
  atMost("cold", "S3", 1.05),
  atMost("cold", "S5", 3.5),
  atMost("rest", "J1", 0.8, 0.66),
  atMost("rest", "J3-time", 0.28),
  atMost("rest", "J3-bytes", 0.62),
  atLeast("tfrecord", "C1", 18, 22),
  atLeast("tfrecord", "C2", 10, 13),
  ...["J5-c1", "J5-c8"].map((id) => ({ ...atLeast("rest", id, 2), goal: true }) as const),
];

/** Measure and print the gates whose id starts with one of the given prefixes, or all; whether all of them hold. */
export async function checkGates(prefixes: readonly string[]): Promise<boolean> {
  const chosen = prefixes.length === 0 ? gates : gates.filter(({ id }) => prefixes.some((prefix) => id.startsWith(prefix)));
  const unknown = prefixes.find((prefix) => !gates.some(({ id }) => id.startsWith(prefix)));
  if (unknown !== undefined)
    throw new Error(`no gate's id starts with ${unknown}: expected one of ${gates.map(({ id }) => id).join(", ")}`);
  return await allHold(chosen, (measurement) => measurements[measurement]());
}
