/** The endpoints of a balancer: which of them may get the next call, and what the outcomes of calls make of them. Sends nothing itself. */
import type { LimitedTransport } from "./concurrency-limit.js";

/** State of one server that a client sends calls to. */
export interface EndpointStatus {
  /** `host:port` or `unix:/path`, as in the errors of its calls; empty for a transport of one's own. */
  readonly address: string;
  /**
   * `idle` before the client's first call; `ready` for calls; `ejected` after connections to it failed in a row; `probing` while one call
   * finds out whether it is back; `draining` when its name has left it and its last calls run.
   */
  readonly state: "idle" | "ready" | "ejected" | "probing" | "draining";
  /** Calls sent and not answered yet. */
  readonly inFlight: number;
}

/** One endpoint a balancer may use. */
export interface EndpointSource {
  /** As it stands in `RpcError.endpoint`. */
  readonly address: string;
  /** Called when the endpoint is added, and for each probe: what it opens must not wait for an older connection's next attempt. */
  open(): LimitedTransport;
}

/**
 * What the end of a call says about the way to its endpoint: any answer shows that it `works`; `silent` is one that did not come in time;
 * `unknown` where the end came from this side.
 */
export type WayTo = "works" | "lost" | "silent" | "unknown";

/** Connections lost in a row before an endpoint is ejected; calls that were lost together count once. */
const lossesToEject = 3;

/** How long the first ejection lasts; each one after a failed probe is twice as long as the one before, up to the longest. */
const firstEjectionMs = 1000;
const longestEjectionMs = 30_000;

/** What carries calls to an endpoint, until a probe opens another. */
interface Opened {
  readonly transport: LimitedTransport;
  /** Calls whose end the pool has not heard of. Several may end at once: the transport has counted them all down before the first is heard of. */
  running: number;
}

/** One endpoint in use; only its pool changes it. */
interface Endpoint {
  readonly source: EndpointSource;
  opened: Opened;
  state: Exclude<EndpointStatus["state"], "idle">;
  /** Connections lost in a row. */
  losses: number;
  /** Grows with every loss that counts and every ejection; what was sent before the last of them tells nothing new. */
  epoch: number;
  /** How long the present ejection lasts. */
  ejectionMs: number;
  /** From when on an ejected one may be probed. */
  probeAt: number;
}

/** A call on its way to an endpoint. */
export interface SentCall {
  readonly address: string;
  readonly transport: LimitedTransport;
  /** The call has settled. */
  settled(way: WayTo): void;
}

/** What a pool decides with; tests have their own. */
export interface PoolSteps {
  /** Milliseconds. */
  now(): number;
  /** From 0 up to, not including, 1. */
  random(): number;
}

/** A set of endpoints of which, once it has one, at least one is always ready. */
export class EndpointPool {
  readonly #steps: PoolSteps;
  readonly #byAddress = new Map<string, Endpoint>();
  /** Those in state `ready`: kept apart, so that a call needs to look at two endpoints only, however many there are. */
  #ready: readonly Endpoint[] = [];
  /** Those in state `ejected` or `probing`. */
  #ejected: readonly Endpoint[] = [];
  /** Everything that is not closed, also what gets no more calls. */
  readonly #opened = new Set<Opened>();
  readonly #closing = new Set<Promise<void>>();
  #closed: Promise<void> | undefined;

  constructor(steps: PoolSteps) {
    this.#steps = steps;
  }

  /** Whether there is nothing to pick from: nobody has told any addresses yet. */
  get isEmpty(): boolean {
    return this.#ready.length === 0;
  }

  /** All endpoints, those that drain too, in the order they came. */
  statuses(): EndpointStatus[] {
    return Array.from(this.#byAddress.values(), ({ source, state, opened }) => ({
      address: source.address,
      state,
      inFlight: opened.transport.inFlight,
    }));
  }

  /**
   * Have these endpoints and no others: new ones are opened, known ones stay as they are, the rest drains.
   *
   * @param sources - At least one; where an address comes twice, the first counts.
   */
  update(sources: readonly EndpointSource[]): void {
    if (this.#closed !== undefined) return;
    for (const source of sources) this.#enter(source);
    const addresses = new Set(sources.map(({ address }) => address));
    for (const [address, endpoint] of this.#byAddress) if (!addresses.has(address)) this.#leave(endpoint);
    this.#regroup();
    if (this.isEmpty) this.#makeReady(this.#ejected);
  }

  /**
   * Send the next call to an endpoint whose probe is due, else to the less loaded of two ready ones. Where no ready one is promising, an
   * ejected one is probed before its time.
   *
   * @param avoid - Addresses that are left out where there are others.
   * @param mayProbe - Whether the call can be a probe: one that is not sent again should not go where it is likely to fail.
   */
  pick(avoid: readonly string[] | undefined, mayProbe = true): SentCall {
    const endpoint = (this.#ejected.length === 0 ? undefined : this.#toProbe(avoid, mayProbe)) ?? this.#readyOne(avoid);
    if (endpoint.state === "ejected") this.#beginProbe(endpoint);
    const { opened, epoch } = endpoint;
    opened.running++;
    return {
      address: endpoint.source.address,
      transport: opened.transport,
      settled: (way) => {
        opened.running--;
        this.#hear(endpoint, way, epoch === endpoint.epoch);
        if (endpoint.opened !== opened) this.#closeUnlessBusy(opened);
      },
    };
  }

  /** Close everything; nothing is opened any more. */
  close(): Promise<void> {
    this.#closed ??= this.#closeAll();
    return this.#closed;
  }

  async #closeAll(): Promise<void> {
    const closing = Array.from(this.#opened, ({ transport }) => transport.close());
    await Promise.all([...closing, ...this.#closing]);
  }

  #enter(source: EndpointSource): void {
    const known = this.#byAddress.get(source.address);
    if (known === undefined) {
      const opened = this.#open(source);
      this.#byAddress.set(source.address, { source, opened, state: "ready", losses: 0, epoch: 0, ejectionMs: 0, probeAt: 0 });
    } else if (known.state === "draining") {
      known.state = "ready";
      known.losses = 0;
    }
  }

  #open(source: EndpointSource): Opened {
    const opened = { transport: source.open(), running: 0 };
    this.#opened.add(opened);
    return opened;
  }

  #leave(endpoint: Endpoint): void {
    endpoint.state = "draining";
    this.#forgetUnlessBusy(endpoint);
  }

  /** An endpoint that drains is gone once its last call has settled. */
  #forgetUnlessBusy({ source, opened }: Endpoint): void {
    if (opened.running === 0) this.#byAddress.delete(source.address);
    this.#closeUnlessBusy(opened);
  }

  /** Close what gets no more calls, once its last one has settled. */
  #closeUnlessBusy(opened: Opened): void {
    if (this.#closed !== undefined || opened.running > 0 || !this.#opened.delete(opened)) return;
    // That closing may fail is nobody's concern: no call uses this transport, and none will.
    const closing = opened.transport.close().catch(() => undefined);
    this.#closing.add(closing);
    void closing.then(() => this.#closing.delete(closing));
  }

  /** @param isNews - Whether the call was sent after the last loss or ejection. */
  #hear(endpoint: Endpoint, way: WayTo, isNews: boolean): void {
    if (endpoint.state === "draining") this.#forgetUnlessBusy(endpoint);
    else if (endpoint.state === "ready") this.#count(endpoint, way, isNews);
    else if (endpoint.state === "probing" && isNews) this.#endProbe(endpoint, way);
  }

  #count(endpoint: Endpoint, way: WayTo, isNews: boolean): void {
    if (way === "works" && isNews) endpoint.losses = 0;
    if (way !== "lost" || !isNews) return;
    endpoint.losses++;
    endpoint.epoch++;
    if (endpoint.losses >= lossesToEject && this.#ready.length > 1) this.#eject(endpoint, firstEjectionMs);
  }

  #beginProbe(endpoint: Endpoint): void {
    endpoint.state = "probing";
    const before = endpoint.opened;
    endpoint.opened = this.#open(endpoint.source);
    this.#closeUnlessBusy(before);
  }

  #endProbe(endpoint: Endpoint, way: WayTo): void {
    if (way === "works") this.#makeReady([endpoint]);
    else if (way === "unknown") this.#eject(endpoint, endpoint.ejectionMs);
    else this.#eject(endpoint, Math.min(endpoint.ejectionMs * 2, longestEjectionMs));
  }

  #eject(endpoint: Endpoint, forMs: number): void {
    endpoint.state = "ejected";
    endpoint.epoch++;
    endpoint.ejectionMs = forMs;
    endpoint.probeAt = this.#steps.now() + forMs;
    this.#regroup();
    // Calls that wait there would be lost one by one.
    endpoint.opened.transport.handBack();
  }

  #makeReady(endpoints: readonly Endpoint[]): void {
    for (const endpoint of endpoints) {
      endpoint.state = "ready";
      endpoint.losses = 0;
    }
    this.#regroup();
  }

  /** The ejected endpoint to probe now: the first whose time has come or, where no ready one is promising, will come. */
  #toProbe(avoid: readonly string[] = [], mayProbe: boolean): Endpoint | undefined {
    const isHopeless = this.#ready.every(({ source, losses }) => losses >= lossesToEject || avoid.includes(source.address));
    if (!mayProbe && !isHopeless) return undefined;
    const latest = isHopeless ? Number.POSITIVE_INFINITY : this.#steps.now();
    let first: Endpoint | undefined;
    for (const endpoint of this.#ejected) {
      if (endpoint.state !== "ejected" || endpoint.probeAt > latest || avoid.includes(endpoint.source.address)) continue;
      if (first === undefined || endpoint.probeAt < first.probeAt) first = endpoint;
    }
    return first;
  }

  #readyOne(avoid: readonly string[] | undefined): Endpoint {
    if (avoid === undefined) return this.#lessLoaded(this.#ready);
    const others = this.#ready.filter(({ source }) => !avoid.includes(source.address));
    return this.#lessLoaded(others.length > 0 ? others : this.#ready);
  }

  /** Of two different endpoints picked at random the one with fewer calls; of equals the one picked first. */
  #lessLoaded(endpoints: readonly Endpoint[]): Endpoint {
    const count = endpoints.length;
    // All indexes are below the length, which is never 0: without endpoints nothing is picked.
    if (count === 1) return endpoints[0] as Endpoint;
    const index = Math.floor(this.#steps.random() * count);
    const otherIndex = Math.floor(this.#steps.random() * (count - 1));
    const first = endpoints[index] as Endpoint;
    const second = endpoints[otherIndex < index ? otherIndex : otherIndex + 1] as Endpoint;
    return loadOf(second.opened) < loadOf(first.opened) ? second : first;
  }

  #regroup(): void {
    const endpoints = [...this.#byAddress.values()];
    this.#ready = endpoints.filter(({ state }) => state === "ready");
    this.#ejected = endpoints.filter(({ state }) => state === "ejected" || state === "probing");
  }
}

/** Calls that a transport has been given, sent or waiting. */
function loadOf({ transport }: Opened): number {
  return transport.inFlight + transport.queued;
}
