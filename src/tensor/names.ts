/** Names of inputs, outputs and signatures as they stand in errors: whoever sends them may have made them, or their number, huge. */

const maxChars = 100;
const maxNames = 20;

/** A name in quotes; a long one is cut. */
export function quotedName(name: string): string {
  if (name.length <= maxChars) return `"${name}"`;
  // Cut by way of bytes: a slice alone would keep the whole name alive.
  const start = Buffer.from(name.slice(0, maxChars)).toString();
  return `"${start}..." (${name.length} characters)`;
}

/** Names in quotes, of many the first; `(none)` without any. */
export function quotedNames(names: readonly string[]): string {
  if (names.length === 0) return "(none)";
  const quoted = names.slice(0, maxNames).map(quotedName).join(", ");
  return names.length <= maxNames ? quoted : `${quoted}, ... (${names.length} in all)`;
}
