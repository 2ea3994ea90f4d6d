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
  /** Called once, when the endpoint is added. */
  open(): LimitedTransport;
}

/** What the end of a call says about the way to its endpoint; `unknown` where it came from this side. */
export type WayTo = "works" | "lost" | "unknown";

/** Calls in a row that lost the connection before an endpoint is ejected. */
const lossesToEject = 3;

/** How long the first ejection lasts; each one after a failed probe is twice as long as the one before, up to the longest. */
const firstEjectionMs = 1000;
const longestEjectionMs = 30_000;

/** One endpoint in use; only its pool changes it. */
export interface Endpoint {
  readonly address: string;
  readonly transport: LimitedTransport;
  state: Exclude<EndpointStatus["state"], "idle">;
  /** Calls whose end the pool has not heard of. Several may end at once: its transport has counted them all down before the first is heard of. */
  running: number;
  /** Calls in a row that lost the connection. */
  losses: number;
  /** How often it was ejected; a call notes it when it is sent, for what began before the last ejection tells nothing new. */
  ejections: number;
  /** How long the present ejection lasts. */
  ejectionMs: number;
  /** From when on an ejected one may be probed. */
  probeAt: number;
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
  /** Endpoints that are done with and not closed yet. */
  readonly #retiring = new Set<Promise<void>>();
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
    return Array.from(this.#byAddress.values(), ({ address, state, transport }) => ({ address, state, inFlight: transport.inFlight }));
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
    for (const endpoint of this.#byAddress.values()) if (!addresses.has(endpoint.address)) this.#leave(endpoint);
    this.#regroup();
    if (this.isEmpty) this.#makeReady(this.#ejected);
  }

  /**
   * The endpoint for the next call: one whose probe is due, else the less loaded of two ready ones.
   *
   * @param avoid - Addresses that are left out where there are others. A probe is left to a call that does not avoid its endpoint.
   * @param mayProbe - Whether the call can be a probe: one that is never sent again should not go where it is likely to fail.
   */
  pick(avoid: readonly string[] | undefined, mayProbe = true): Endpoint {
    const due = this.#ejected.length === 0 || !mayProbe ? undefined : this.#dueForProbe(avoid);
    if (due !== undefined) return due;
    if (avoid === undefined) return this.#lessLoaded(this.#ready);
    const others = this.#ready.filter(({ address }) => !avoid.includes(address));
    return this.#lessLoaded(others.length > 0 ? others : this.#ready);
  }

  /** A call was sent to an endpoint that was picked for it. */
  sent(endpoint: Endpoint): void {
    endpoint.running++;
    if (endpoint.state === "ejected") endpoint.state = "probing";
  }

  /**
   * A call has settled.
   *
   * @param ejections - What the endpoint's `ejections` was when the call was sent.
   */
  settled(endpoint: Endpoint, ejections: number, way: WayTo): void {
    endpoint.running--;
    const isNews = ejections === endpoint.ejections;
    if (endpoint.state === "draining") this.#retireUnlessBusy(endpoint);
    else if (isNews && endpoint.state === "ready") this.#count(endpoint, way);
    else if (isNews) this.#endProbe(endpoint, way);
  }

  /** Close every endpoint; what was picked before is closed, too, and nothing is opened any more. */
  close(): Promise<void> {
    this.#closed ??= this.#closeAll();
    return this.#closed;
  }

  async #closeAll(): Promise<void> {
    const closing = Array.from(this.#byAddress.values(), ({ transport }) => transport.close());
    await Promise.all([...closing, ...this.#retiring]);
  }

  #enter(source: EndpointSource): void {
    const { address } = source;
    const known = this.#byAddress.get(address);
    if (known === undefined) {
      this.#byAddress.set(address, {
        address,
        transport: source.open(),
        state: "ready",
        running: 0,
        losses: 0,
        ejections: 0,
        ejectionMs: 0,
        probeAt: 0,
      });
    } else if (known.state === "draining") {
      known.state = "ready";
      known.losses = 0;
    }
  }

  #leave(endpoint: Endpoint): void {
    endpoint.state = "draining";
    this.#retireUnlessBusy(endpoint);
  }

  /** Close an endpoint that drains, once its last call has settled. */
  #retireUnlessBusy(endpoint: Endpoint): void {
    if (this.#closed !== undefined || endpoint.running > 0) return;
    this.#byAddress.delete(endpoint.address);
    // That closing may fail is nobody's concern: no call uses this endpoint, and none will.
    const retired = endpoint.transport.close().catch(() => undefined);
    this.#retiring.add(retired);
    void retired.then(() => this.#retiring.delete(retired));
  }

  #count(endpoint: Endpoint, way: WayTo): void {
    if (way === "works") endpoint.losses = 0;
    if (way !== "lost") return;
    endpoint.losses++;
    if (endpoint.losses >= lossesToEject && this.#ready.length > 1) this.#eject(endpoint, firstEjectionMs);
  }

  #endProbe(endpoint: Endpoint, way: WayTo): void {
    if (way === "works") this.#makeReady([endpoint]);
    else if (way === "lost") this.#eject(endpoint, Math.min(endpoint.ejectionMs * 2, longestEjectionMs));
    // Nothing is known, so the next call may probe.
    else endpoint.state = "ejected";
  }

  #eject(endpoint: Endpoint, forMs: number): void {
    endpoint.state = "ejected";
    endpoint.ejections++;
    endpoint.ejectionMs = forMs;
    endpoint.probeAt = this.#steps.now() + forMs;
    this.#regroup();
  }

  #makeReady(endpoints: readonly Endpoint[]): void {
    for (const endpoint of endpoints) {
      endpoint.state = "ready";
      endpoint.losses = 0;
    }
    this.#regroup();
  }

  #dueForProbe(avoid: readonly string[] | undefined): Endpoint | undefined {
    const now = this.#steps.now();
    return this.#ejected.find(
      ({ state, probeAt, address }) => state === "ejected" && probeAt <= now && !(avoid?.includes(address) ?? false),
    );
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
    return loadOf(second) < loadOf(first) ? second : first;
  }

  #regroup(): void {
    const endpoints = [...this.#byAddress.values()];
    this.#ready = endpoints.filter(({ state }) => state === "ready");
    this.#ejected = endpoints.filter(({ state }) => state === "ejected" || state === "probing");
  }
}

/** Calls that were given to an endpoint and have not settled. */
function loadOf({ transport }: Endpoint): number {
  return transport.inFlight + transport.queued;
}
