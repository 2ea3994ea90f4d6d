/**
 * A loopback relay that holds every byte back on its way, in both directions: a link whose round trip is twice the delay, with no limit on
 * bandwidth. Arguments: PORT DELAY_MS; sends its own port to the parent and ends with it.
 */
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { sendToParent } from "./processes.js";

const [port, delayMs] = process.argv.slice(2).map(Number) as [number, number];
const options = { allowHalfOpen: true, noDelay: true };

/** Timers of one length fire in the order they were set, so the bytes keep theirs. */
function hold(from: Socket, to: Socket): void {
  from.on("data", (chunk) => setTimeout(() => to.write(chunk), delayMs));
  from.on("end", () => setTimeout(() => to.end(), delayMs));
  from.on("error", () => to.destroy());
}

const relay = createServer(options, (client) => {
  const server = connect({ ...options, host: "127.0.0.1", port });
  hold(client, server);
  hold(server, client);
});
relay.listen(0, "127.0.0.1", () => sendToParent((relay.address() as AddressInfo).port));
process.on("disconnect", () => process.exit());
