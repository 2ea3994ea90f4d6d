/** The server of `npm run cycles`, in a process of its own: on plain ports, and behind relays that add TLS as a proxy does. Tells its parent where. */
import { type AddressInfo, connect } from "node:net";
import { createServer } from "node:tls";
import { startModelServer } from "../src/server/index.js";
import { makeCertificates } from "../test/support/certificates.js";
import { modelName, soakModel } from "./soak/workload.js";

/** What the process tells when it listens. */
export interface ServerReport {
  readonly targets: Readonly<Record<"grpc" | "rest" | "grpcs" | "https", string>>;
  /** Certificate of the authority that signed for the ports with TLS, as PEM. */
  readonly ca: string;
}

const certificates = await makeCertificates();
const { grpcPort, restPort } = await startModelServer({ models: { [modelName]: soakModel } });
const targets = {
  grpc: `grpc://127.0.0.1:${grpcPort}`,
  rest: `http://127.0.0.1:${restPort}`,
  grpcs: `grpcs://127.0.0.1:${await relayTo(grpcPort, "h2")}`,
  https: `https://127.0.0.1:${await relayTo(restPort, "http/1.1")}`,
};
process.send?.({ targets, ca: certificates.ca.cert } satisfies ServerReport);
process.on("disconnect", () => process.exit());

/** Take connections over TLS, and pass on what they carry; settles with the port. */
async function relayTo(port: number, protocol: string): Promise<number> {
  const relay = createServer({ ...certificates.server, ALPNProtocols: [protocol], noDelay: true }, (near) => {
    const far = connect({ port, host: "127.0.0.1", noDelay: true });
    // Either end may be reset by the other's end.
    for (const socket of [near, far]) socket.on("error", () => undefined);
    near.pipe(far);
    far.pipe(near);
    near.on("close", () => far.destroy());
    far.on("close", () => near.destroy());
  });
  await new Promise<void>((resolve) => {
    relay.listen(0, "127.0.0.1", resolve);
  });
  return (relay.address() as AddressInfo).port;
}
