/** Bounds on what benches measure: when they hold, and how that is printed. */
import { type GateValues, median } from "./compare.js";

/** A bound on one value of a measurement. */
export interface Gate<Measurement extends string = string> {
  readonly id: string;
  readonly measurement: Measurement;
  readonly relation: ">=" | "<=";
  readonly bound: number;
  /** What is within reach by what was measured of the parts. */
  readonly stretch?: number | undefined;
  /** A goal is reported like a gate, but its shortfall is no failure. */
  readonly goal?: true;
}

/**
 * Measure and print some gates; whether all of them hold.
 *
 * A measurement with a gate that falls short is repeated twice, and for such a gate the median of the three decides.
 */
export async function allHold<Measurement extends string>(
  gates: readonly Gate<Measurement>[],
  measure: (measurement: Measurement) => Promise<GateValues>,
): Promise<boolean> {
  const runs = new Map<Measurement, GateValues[]>();
  for (const measurement of new Set(gates.map((gate) => gate.measurement))) {
    const measured = [await measure(measurement)];
    const gatesOfIt = gates.filter((gate) => gate.measurement === measurement && !gate.goal);
    const isShort = gatesOfIt.some((gate) => !holds(gate, measuredOf(gate, measured[0])));
    if (isShort) measured.push(await measure(measurement), await measure(measurement));
    runs.set(measurement, measured);
  }
  console.log("");
  return gates.map((gate) => decide(gate, runs.get(gate.measurement) ?? [])).every((passed) => passed);
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
  // Two digits could say the contrary where it is short by less.
  const shown = passed ? format(value) : value.toPrecision(4);
  console.log(`${gate.id} ${shown}${all} ${gate.relation} ${gate.bound}${stretch} ${verdict}`);
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
