/** Versions of releases: what one looks like, and which of two is higher. */

const pattern = /^(\d{1,6})\.(\d{1,6})\.(\d{1,6})(?:-([0-9a-z.]{1,20}))?$/;

/** Whether a text is a version of a release, such as `2.20.0` or `2.21.0-rc1`. */
export function isVersion(text: string): boolean {
  return pattern.test(text);
}

/**
 * Return `version` if {@link isVersion}.
 *
 * @throws RangeError that calls it `what`.
 */
export function assertVersion(version: string, what: string): string {
  if (!isVersion(version)) throw new RangeError(`${what}: expected a version such as 2.20.0, got ${JSON.stringify(version)}`);
  return version;
}

/** Whether `a` comes after `b`, both of them versions. A release comes after its candidates, which are ordered as text. */
export function isHigherVersion(a: string, b: string): boolean {
  const left = pattern.exec(a) ?? [];
  const right = pattern.exec(b) ?? [];
  for (const part of [1, 2, 3]) {
    const difference = Number(left[part]) - Number(right[part]);
    if (difference !== 0) return difference > 0;
  }
  return (left[4] ?? "~") > (right[4] ?? "~");
}
