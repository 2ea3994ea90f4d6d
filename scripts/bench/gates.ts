/** `npm run bench -- gates`: what must hold of the measurements, and whether it does. */
import { benchCodec } from "./codec.js";
import { benchCold } from "./cold.js";
import { type GateValues, median } from "./compare.js";
import { benchE2e } from "./e2e.js";
import { benchMemory } from "./memory.js";
import { benchRest } from "./rest.js";
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
} satisfies Record<string, () => Promise<GateValues>>;

type Measurement = keyof typeof measurements;

/** A bound on one measured value. */
interface Gate {
  readonly id: string;
  readonly measurement: Measurement;
  readonly relation: ">=" | "<=";
  readonly bound: number;
  /** What is within reach by what was measured of the parts. */
  readonly stretch?: number | undefined;
  /** A goal is reported like a gate, but its shortfall is no failure. */
  readonly goal?: true;
}

function atLeast(measurement: Measurement, id: string, bound: number, stretch?: number): Gate {
  return { id, measurement, relation: ">=", bound, stretch };
}

function atMost(measurement: Measurement, id: string, bound: number, stretch?: number): Gate {
  return { id, measurement, relation: "<=", bound, stretch };
}

const medium = ["100KB-c1", "100KB-c8", "100KB-c64", "1MB-c1", "1MB-c8", "1MB-c64"];

/** All gates; `docs/benchmarks.md` says what each measures. */
const gates: readonly Gate[] = [
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
  atMost("rest", "J1", 0.8, 0.66),
  atMost("rest", "J3-time", 0.28),
  atMost("rest", "J3-bytes", 0.62),
  ...["J5-c1", "J5-c8"].map((id) => ({ ...atLeast("rest", id, 2), goal: true }) as const),
];

/**
 * Measure and print the gates whose id starts with one of the given prefixes, or all; whether all of them hold.
 *
 * A measurement with a gate that falls short is repeated twice, and for such a gate the median of the three decides.
 */
export async function checkGates(prefixes: readonly string[]): Promise<boolean> {
  const chosen = prefixes.length === 0 ? gates : gates.filter(({ id }) => prefixes.some((prefix) => id.startsWith(prefix)));
  const unknown = prefixes.find((prefix) => !gates.some(({ id }) => id.startsWith(prefix)));
  if (unknown !== undefined)
    throw new Error(`no gate's id starts with ${unknown}: expected one of ${gates.map(({ id }) => id).join(", ")}`);
  const runs = new Map<Measurement, GateValues[]>();
  for (const measurement of new Set(chosen.map((gate) => gate.measurement))) {
    const measured = [await measurements[measurement]()];
    const gatesOfIt = chosen.filter((gate) => gate.measurement === measurement && !gate.goal);
    const isShort = gatesOfIt.some((gate) => !holds(gate, measuredOf(gate, measured[0])));
    if (isShort) measured.push(await measurements[measurement](), await measurements[measurement]());
    runs.set(measurement, measured);
  }
  console.log("");
  return chosen.map((gate) => decide(gate, runs.get(gate.measurement) ?? [])).every((passed) => passed);
}

/** Print the verdict on one gate; whether it passes. */
function decide(gate: Gate, runs: readonly GateValues[]): boolean {
  const measured = runs.map((values) => measuredOf(gate, values));
  // Repeated runs may be for the sake of another gate.
  const values = holds(gate, measured[0] as number) ? measured.slice(0, 1) : measured;
  const value = median(values);
  const passed = holds(gate, value);
  const all = values.length > 1 ? ` (${values.map(format).join(", ")})` : "";
  const stretch = gate.stretch === undefined ? "" : ` [${gate.stretch}]`;
  const verdict = passed ? "ok" : gate.goal ? "short of a goal, which is no gate" : "SHORT";
  console.log(`${gate.id} ${format(value)}${all} ${gate.relation} ${gate.bound}${stretch} ${verdict}`);
  return passed || gate.goal === true;
}

function holds({ relation, bound }: Gate, value: number): boolean {
  return relation === ">=" ? value >= bound : value <= bound;
}

function measuredOf({ id, measurement }: Gate, values: GateValues | undefined): number {
  const value = values?.[id];
  if (value === undefined)
    throw new Error(`expected the bench ${measurement} to measure ${id}, got ${Object.keys(values ?? {}).join(", ")}`);
  return value;
}

function format(value: number): string {
  return value.toFixed(value >= 100 ? 0 : 2);
}
