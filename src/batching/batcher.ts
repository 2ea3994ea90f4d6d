/** When calls that wait go out together: a queue, limits and a schedule. It knows nothing of tensors and settles nobody. */

/** A call that waits for a batch. */
export interface BatchMember {
  readonly rows: number;
  readonly bytes: number;
  /** Bytes of its last row, which padding repeats. */
  readonly lastRowBytes: number;
}

/** Why a batch went out. */
export type FlushReason = "full" | "delay" | "idle";

/** How large batches become, and how long calls wait for one. */
export interface BatchLimits {
  readonly maxRows: number;
  /** With padding. */
  readonly maxBytes: number;
  readonly maxDelayMs: number;
  readonly maxInFlight: number;
  /** Sizes that padding brings batches to, ascending; empty where every size is allowed. */
  readonly allowedRows: readonly number[];
}

/** Rows to add so that a batch has an allowed size; none where it has more than any, or no row to repeat. */
export function paddingFor(rows: number, allowedRows: readonly number[]): number {
  if (rows > 0) for (const allowed of allowedRows) if (allowed >= rows) return allowed - rows;
  return 0;
}

/** What calls come to that share a batch, in their order. */
export function sizeOf(members: readonly BatchMember[]): BatchMember {
  const size = { rows: 0, bytes: 0, lastRowBytes: 0 };
  for (const member of members) addTo(size, member);
  return size;
}

/** Bytes of calls with the padding that their batch would have. */
function paddedBytes({ rows, bytes, lastRowBytes }: BatchMember, allowedRows: readonly number[]): number {
  return bytes + paddingFor(rows, allowedRows) * lastRowBytes;
}

/** Whether calls are more than one batch may have. */
export function exceeds(size: BatchMember, { maxRows, maxBytes, allowedRows }: BatchLimits): boolean {
  return size.rows > maxRows || paddedBytes(size, allowedRows) > maxBytes;
}

/** What passes time; tests bring their own. */
export interface BatchSchedule {
  /** Milliseconds. */
  now(): number;
  /** Run something once the events at hand have been dealt with, so that calls made because of them are in the batch, too. */
  soon(run: () => void): void;
  /** Run something after a time, unless what comes back is called before. */
  after(delayMs: number, run: () => void): () => void;
}

/** The members of one batch, and since when the first of them has waited. */
export interface Flushed<Member> {
  readonly members: readonly Member[];
  readonly reason: FlushReason;
  readonly since: number;
}

/**
 * The queue of calls that may share a batch.
 *
 * A batch goes out when it is full, when its first call has waited for `maxDelayMs`, or as soon as none is in flight; but never more than
 * `maxInFlight` at once, so that a slow server gets larger batches rather than more of them.
 */
export class Batcher<Member extends BatchMember> {
  /** Kept to by every batch that goes out from now on, but for a call that is larger by itself. */
  limits: BatchLimits;
  readonly #send: (batch: Flushed<Member>) => Promise<void>;
  readonly #onIdle: () => void;
  readonly #schedule: BatchSchedule;
  /** Since when each call waits, in the order they came; a call that gives up is taken out wherever it stands. */
  readonly #waiting = new Map<Member, number>();
  /** Of all that wait; the last row is that of `#last`. */
  readonly #size = { rows: 0, bytes: 0, lastRowBytes: 0 };
  /** The call that came last, of those that wait. */
  #last: Member | undefined;
  /** Batches with all requests that come of them, which have places of their own. */
  #inFlight = 0;
  #isIdleFlushDue = false;
  /** The call that the timer was set for: the first in the queue. */
  #watched: Member | undefined;
  #stopTimer: (() => void) | undefined;
  /** Whether the first call has waited long enough. */
  #isOverdue = false;

  /**
   * @param send - Carries a batch and settles its members; never rejects.
   * @param onIdle - Is told when nothing waits and nothing is in flight any more.
   */
  constructor(limits: BatchLimits, send: (batch: Flushed<Member>) => Promise<void>, onIdle: () => void, schedule: BatchSchedule) {
    this.limits = limits;
    this.#send = send;
    this.#onIdle = onIdle;
    this.#schedule = schedule;
  }

  /** A call lines up; it has no more rows and bytes than a batch may have. */
  add(member: Member): void {
    this.#waiting.set(member, this.#schedule.now());
    this.#last = member;
    addTo(this.#size, member);
    this.#flush();
  }

  /** A call leaves the queue, if it still stands there. */
  remove(member: Member): boolean {
    if (!this.#leave(member)) return false;
    // The call that is first now may be late already: its own timer was to run at this very time.
    this.#flush();
    this.#tellIfIdle();
    return true;
  }

  #leave(member: Member): boolean {
    if (!this.#waiting.delete(member)) return false;
    this.#size.rows -= member.rows;
    this.#size.bytes -= member.bytes;
    if (this.#last === member) {
      this.#last = [...this.#waiting.keys()].at(-1);
      this.#size.lastRowBytes = this.#last?.lastRowBytes ?? 0;
    }
    if (this.#watched === member) this.#watch(undefined);
    return true;
  }

  /** Send what is due. */
  #flush(): void {
    for (;;) {
      const isFull = this.#isFull();
      // What goes out soon needs no timer, which would take a lone caller a tenth of its time.
      if (this.#inFlight === 0 && this.#waiting.size > 0 && !isFull && !this.#isOverdue && this.limits.maxDelayMs > 0) {
        this.#flushWhenIdle();
        return;
      }
      this.#watchFirst();
      if (this.#inFlight >= this.limits.maxInFlight || !(isFull || this.#isOverdue)) return;
      this.#sendNext(isFull ? "full" : "delay");
    }
  }

  #isFull(): boolean {
    const { maxRows, maxBytes, allowedRows } = this.limits;
    return this.#size.rows >= maxRows || paddedBytes(this.#size, allowedRows) >= maxBytes;
  }

  #flushWhenIdle(): void {
    if (this.#isIdleFlushDue) return;
    this.#isIdleFlushDue = true;
    this.#schedule.soon(() => {
      this.#isIdleFlushDue = false;
      if (this.#inFlight === 0 && this.#waiting.size > 0) this.#sendNext("idle");
      this.#flush();
    });
  }

  /** Have the timer run for the call that is first now. */
  #watchFirst(): void {
    const [first] = this.#waiting.keys();
    if (first !== this.#watched) this.#watch(first);
  }

  #watch(first: Member | undefined): void {
    this.#stopTimer?.();
    this.#stopTimer = undefined;
    this.#watched = first;
    const since = first && this.#waiting.get(first);
    const remainingMs = since === undefined ? Number.POSITIVE_INFINITY : since + this.limits.maxDelayMs - this.#schedule.now();
    this.#isOverdue = remainingMs <= 0;
    if (since === undefined || this.#isOverdue) return;
    this.#stopTimer = this.#schedule.after(remainingMs, () => {
      this.#isOverdue = true;
      this.#flush();
    });
  }

  #sendNext(reason: FlushReason): void {
    const { members, since } = this.#take();
    this.#inFlight++;
    void this.#send({ members, reason, since }).then(() => {
      this.#inFlight--;
      this.#flush();
      this.#tellIfIdle();
    });
  }

  #tellIfIdle(): void {
    if (this.#waiting.size === 0 && this.#inFlight === 0) this.#onIdle();
  }

  /** The next calls that fit into one batch: at least the first, in their order. */
  #take(): { members: Member[]; since: number } {
    const members: Member[] = [];
    const size = { rows: 0, bytes: 0, lastRowBytes: 0 };
    let firstSince = 0;
    for (const [member, since] of this.#waiting) {
      addTo(size, member);
      if (members.length === 0) firstSince = since;
      else if (exceeds(size, this.limits)) break;
      members.push(member);
      this.#leave(member);
    }
    return { members, since: firstSince };
  }
}

function addTo(size: { rows: number; bytes: number; lastRowBytes: number }, { rows, bytes, lastRowBytes }: BatchMember): void {
  size.rows += rows;
  size.bytes += bytes;
  size.lastRowBytes = lastRowBytes;
}
