/** One port of the embedded server, whose connections it can cut and which it can open again. */
import { lookup } from "node:dns/promises";
import { type AddressInfo, isIP, type Server, type Socket } from "node:net";

/** Addresses of a name that this machine does not have: `localhost` names `::1` also where there is no IPv6. */
const absentAddressCodes: ReadonlySet<unknown> = new Set(["EADDRNOTAVAIL", "EAFNOSUPPORT"]);

/** A port on every address of a host. */
export class Port {
  readonly #host: string;
  readonly #createServer: () => Server;
  readonly #sockets = new Set<Socket>();
  readonly #servers: Server[] = [];
  #number: number;

  /**
   * @param number - 0 takes a free one.
   * @param createServer - Makes what serves the connections of one address, not yet listening; called each time the port opens.
   */
  constructor(host: string, number: number, createServer: () => Server) {
    this.#host = host;
    this.#number = number;
    this.#createServer = createServer;
  }

  /** The port's number, once it has been open. */
  get number(): number {
    return this.#number;
  }

  /**
   * Listen, on the same number as before if the port has been open.
   *
   * @throws The system's error if the host is unknown or the port is taken.
   */
  async open(): Promise<void> {
    let absent: unknown;
    for (const address of await addressesOf(this.#host)) {
      try {
        await this.#listen(address);
      } catch (error) {
        if (!absentAddressCodes.has((error as NodeJS.ErrnoException).code)) {
          await this.crash();
          throw error;
        }
        absent = error;
      }
    }
    if (this.#servers.length === 0) throw absent;
  }

  #listen(address: string): Promise<void> {
    const server = this.#createServer();
    server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(this.#number, address, () => {
        server.off("error", reject);
        this.#number = (server.address() as AddressInfo).port;
        this.#servers.push(server);
        resolve();
      });
    });
  }

  /** Stop listening; resolves when the last connection has ended. */
  async close(): Promise<void> {
    await Promise.all(this.#servers.splice(0).map((server) => new Promise<void>((resolve) => server.close(() => resolve()))));
  }

  /** Stop listening and destroy every connection. */
  async crash(): Promise<void> {
    const closed = this.close();
    this.cut();
    await closed;
  }

  /** Destroy every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Destroy the connection from one address and port, `127.0.0.1:54321`. */
  cutPeer(peer: string): void {
    for (const socket of this.#sockets) {
      if (`${socket.remoteAddress}:${socket.remotePort}` === peer) socket.destroy();
    }
  }
}

async function addressesOf(host: string): Promise<Iterable<string>> {
  if (isIP(host) !== 0) return [host];
  return new Set((await lookup(host, { all: true })).map(({ address }) => address));
}
