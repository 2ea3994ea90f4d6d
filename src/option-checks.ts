/** Checks of options that many functions share. An option that would be ignored is refused, for a typo must not pass as a setting. */
import { describe } from "./tensor/values.js";

/** Which options there are. */
export interface OptionNames<Options> {
  /** Every option, so that the compiler misses those left out. */
  readonly known: Readonly<Record<keyof Options, true>>;
  /** Options that other versions have or will have. */
  readonly notYet?: readonly string[];
  /** The option that these are the parts of. */
  readonly of?: string;
}

/**
 * Check that options have no other names; those that are `undefined` count as absent.
 *
 * @throws TypeError that names the option, and the known ones.
 */
export function assertOptionNames<Options extends object>(options: Options, { known, notYet = [], of }: OptionNames<Options>): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || Object.hasOwn(known, name)) continue;
    if (notYet.includes(name)) throw new TypeError(`${name}: this option is not available in this version`);
    throw new TypeError(
      `${of === undefined ? name : `${of}.${name}`}: unknown option, expected one of ${Object.keys(known).sort().join(", ")}`,
    );
  }
}

/**
 * Check that an option is a whole number, and no less than it may be.
 *
 * @throws TypeError if it is no number, RangeError if it is another one.
 */
export function assertCount(name: string, count: unknown, least: number): void {
  if (typeof count !== "number") throw new TypeError(`${name}: expected a number, got ${describe(count)}`);
  if (Number.isSafeInteger(count) && count >= least) return;
  throw new RangeError(`${name}: expected a whole number from ${least} up, got ${count}`);
}
