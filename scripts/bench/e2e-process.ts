/** Slices of Predict calls over gRPC with one library. Arguments: PEER PORT BYTES. */
import type { ConnectPeer } from "./peers/peer.js";
import { serveSlices } from "./slices.js";

/** By the names of the tables; each library is loaded only in its own process. */
const peers = {
  identity: async () => (await import("./peers/identity.js")).connectIdentity,
  tfserving: async () => (await import("./peers/tfserving.js")).connectTfserving,
  "ts-proto": async () => (await import("./peers/ts-proto.js")).connectTsProtoContent,
  "ts-proto float_val": async () => (await import("./peers/ts-proto.js")).connectTsProtoFloatVal,
  "nice-grpc": async () => (await import("./peers/nice-grpc.js")).connectNiceGrpc,
  "connect-node": async () => (await import("./peers/connect-node.js")).connectConnectNode,
} satisfies Record<string, () => Promise<ConnectPeer>>;

/** The name of a library under test. */
export type PeerName = keyof typeof peers;

const [name, port, bytes] = process.argv.slice(2);
const connect = await peers[name as PeerName]();
/**
 * What an application holds besides, about 20 MB. In a process without it V8 collects garbage by the size of the library's own code: bare
 * grpc-js takes a third more CPU time for calls of 1 MB once anything of 1 MB is loaded beside it, whatever that does.
 */
Object.assign(globalThis, { applicationObjects: Array.from({ length: 200_000 }, (_, index) => ({ index, list: [index] })) });

const values = Float32Array.from({ length: Number(bytes) / Float32Array.BYTES_PER_ELEMENT }, Math.random);
await serveSlices(await connect(Number(port), values));
