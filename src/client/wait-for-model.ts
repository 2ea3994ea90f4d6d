/** Waiting until a server serves a model. */
import { isServingError, type StatusCode } from "../errors.js";
import type { ModelSpec } from "../model-spec.js";
import type { ModelVersionStatus } from "../transport/transport.js";

/** Time for one look at the status: over REST it queues behind running predicts, and a busy server is no reason to give up. */
const pollTimeoutMs = 30_000;

/** The pause between two looks grows by this factor, up to the cap. */
const backoffFactor = 1.5;
const maxPollIntervalMs = 5000;

/** With less time than this left there is no further look. */
const minLookMs = 20;

/** How long and how often to look. */
export interface WaitSchedule {
  /** When to give up, by the clock of {@link WaitSteps}. */
  readonly deadline: number;
  /** Time between the first two looks; it grows from look to look. */
  readonly pollIntervalMs: number;
}

/** What waiting is made of; tests bring a clock of their own. */
export interface WaitSteps {
  now(): number;
  /** Rejects when the caller aborts. */
  sleep(delayMs: number): Promise<void>;
  /** Ask the server, until a deadline. */
  status(deadline: number): Promise<ModelVersionStatus[]>;
}

/** Why waiting ended without the model. */
export interface WaitFailure {
  readonly code: StatusCode;
  readonly serverMessage: string;
  readonly hint?: string | undefined;
}

/** What was last seen of a model that is not there yet. */
interface Seen {
  readonly seen: string;
  /** What to look at if that does not change. */
  readonly hint?: string | undefined;
}

/** What one look at the status says; `undefined` where no answer came in time. */
type Look = { readonly ready: ModelVersionStatus } | { readonly failed: WaitFailure } | Seen | undefined;

const hints = {
  noAnswer:
    "a server opens its ports only after its models have loaded and waits without limit for a base path without versions: check address and path, and the server's log",
  noVersions: "the server found no version to serve: check that the base path holds a folder for each version, named by its number",
  notServed: "the server answers but does not serve this version: check its folder, and that the model's version policy asks for it",
  unloaded: "the server has unloaded it: check its folder, and what a reload or a version policy asks for",
  notReady: "the server answers and the version is on its way: wait longer, or look at the server's log",
} as const;

/**
 * The status of the wanted version, or of the newest, once it is `AVAILABLE`.
 *
 * A refused connection, an unknown model and a status that comes too late are no reason to stop; a version that failed to load is, also
 * while an older one still answers.
 *
 * @param fail - Makes the error for what ended the wait.
 * @throws What `fail` makes, if the version failed or time ran out; errors of the status call that waiting cannot mend.
 */
export async function waitForModel(
  spec: ModelSpec,
  { deadline, pollIntervalMs }: WaitSchedule,
  steps: WaitSteps,
  fail: (failure: WaitFailure) => Error,
): Promise<ModelVersionStatus> {
  let last: Seen = { seen: "no answer to a status call", hint: hints.noAnswer };
  let pauseMs = pollIntervalMs;
  for (;;) {
    const look = await lookOnce(spec, Math.min(deadline, steps.now() + pollTimeoutMs), steps);
    if (look !== undefined) {
      if ("ready" in look) return look.ready;
      if ("failed" in look) throw fail(look.failed);
      last = look;
    }
    const remainingMs = deadline - steps.now();
    if (remainingMs < minLookMs) throw fail(timedOut(last));
    // Half of what is left, so that the last look comes shortly before the end.
    await steps.sleep(Math.min(pauseMs, remainingMs / 2));
    pauseMs = Math.max(pollIntervalMs, Math.min(pauseMs * backoffFactor, maxPollIntervalMs));
  }
}

async function lookOnce(spec: ModelSpec, deadline: number, steps: WaitSteps): Promise<Look> {
  try {
    return judge(spec, await steps.status(deadline));
  } catch (error) {
    if (!isServingError(error, "RpcError") || !mayPass(error.code, error.retryable)) throw error;
    if (error.code === "DEADLINE_EXCEEDED") return undefined;
    return { seen: `${error.code}: ${error.serverMessage}`, hint: error.code === "UNAVAILABLE" ? hints.noAnswer : error.hint };
  }
}

/** Ports open only when all models have loaded, and a model just added is unknown until the next look at the file system. */
function mayPass(code: StatusCode, retryable: boolean): boolean {
  return retryable || code === "NOT_FOUND" || code === "DEADLINE_EXCEEDED";
}

/** What the versions say; those that ended well (unloaded) are listed for ever and say nothing. */
function judge(spec: ModelSpec, statuses: readonly ModelVersionStatus[]): Look {
  const wanted = spec.version === undefined ? statuses : statuses.filter(({ version }) => version === BigInt(spec.version ?? 0));
  const present = wanted.filter(({ state, errorCode }) => state !== "END" || errorCode !== "OK");
  const newest = present.reduce<ModelVersionStatus | undefined>(
    (best, status) => (best === undefined || status.version > best.version ? status : best),
    undefined,
  );
  if (newest === undefined) return absent(statuses, wanted);
  if (newest.state === "AVAILABLE") return { ready: newest };
  if (newest.state === "END") return { failed: failureOf(newest, statuses) };
  return { seen: describeAll(present), hint: hints.notReady };
}

function absent(statuses: readonly ModelVersionStatus[], wanted: readonly ModelVersionStatus[]): Seen {
  if (statuses.length === 0) return { seen: "no versions", hint: hints.noVersions };
  if (wanted.length === 0) return { seen: describeAll(statuses), hint: hints.notServed };
  return { seen: describeAll(wanted), hint: hints.unloaded };
}

function failureOf({ version, errorCode, errorMessage }: ModelVersionStatus, statuses: readonly ModelVersionStatus[]): WaitFailure {
  const serverMessage = `version ${version} failed to load: ${errorMessage || errorCode}`;
  const older = statuses.find(({ state }) => state === "AVAILABLE");
  if (older === undefined) return { code: errorCode, serverMessage };
  return { code: errorCode, serverMessage, hint: `version ${older.version} is AVAILABLE: pass it as version to wait for that one` };
}

/** Versions that stand in a message. */
const maxListed = 5;

function describeAll(statuses: readonly ModelVersionStatus[]): string {
  const listed = statuses.slice(0, maxListed).map(({ version, state, errorCode }) => {
    const ended = state === "END" ? ` (${errorCode === "OK" ? "unloaded" : errorCode})` : "";
    return `version ${version} ${state}${ended}`;
  });
  return [...listed, ...(statuses.length > maxListed ? ["..."] : [])].join(", ");
}

function timedOut({ seen, hint }: Seen): WaitFailure {
  return { code: "DEADLINE_EXCEEDED", serverMessage: `time ran out while the model was not available; last seen: ${seen}`, hint };
}
