/** Versions of releases: what one looks like, and which of two is higher. */

const pattern = /^(\d{1,6})\.(\d{1,6})\.(\d{1,6})(?:-([0-9a-z.]{1,20}))?$/;

/**
 * Return `version` if it is one of a release, such as `2.20.0` or `2.21.0-rc1`.
 *
 * @throws RangeError that calls it `what`.
 */
export function assertVersion(version: string, what: string): string {
  if (!pattern.test(version)) throw new RangeError(`${what}: expected a version such as 2.20.0, got ${JSON.stringify(version)}`);
  return version;
}

/** Whether `a` comes after `b`. A release comes after its candidates, which are ordered as text. */
export function isHigherVersion(a: string, b: string): boolean {
  const left = pattern.exec(a) ?? [];
  const right = pattern.exec(b) ?? [];
  for (const part of [1, 2, 3]) {
    const difference = Number(left[part]) - Number(right[part]);
    if (difference !== 0) return difference > 0;
  }
  return (left[4] ?? "~") > (right[4] ?? "~");
}
