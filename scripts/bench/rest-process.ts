/** Slices of predict calls over REST. Arguments: tfserving|undici PORT BYTES. */
import { connectTfservingRest } from "./peers/rest/tfserving.js";
import { connectUndici } from "./peers/rest/undici.js";
import { serveSlices } from "./slices.js";

const [name, port, bytes] = process.argv.slice(2);
const connect = name === "tfserving" ? connectTfservingRest : connectUndici;
const values = Float32Array.from({ length: Number(bytes) / Float32Array.BYTES_PER_ELEMENT }, Math.random);
await serveSlices(await connect(Number(port), values));
