/**
 * Sends the parent by how many bytes `arrayBuffers` grows per call, one value per sample.
 *
 * Run it with `--expose-gc`; arguments: tfserving|identity PORT BYTES SAMPLES. A sample begins with a full collection, and its few calls
 * stay below what makes V8 collect by itself, so that the growth is all they allocate.
 */
import { connectIdentity } from "./peers/identity.js";
import { connectTfserving } from "./peers/tfserving.js";
import { sendToParent } from "./processes.js";

const callsPerSample = 4;

const [name, port, bytes, samples] = process.argv.slice(2);
const { gc } = globalThis;
if (gc === undefined) throw new Error("expected to run with --expose-gc");
const connect = name === "tfserving" ? connectTfserving : connectIdentity;
const peer = await connect(Number(port), new Float32Array(Number(bytes) / Float32Array.BYTES_PER_ELEMENT));

// The first calls connect and fill caches.
for (let i = 0; i < 20; i++) await peer.predict();
const growths: number[] = [];
for (let sample = 0; sample < Number(samples); sample++) {
  // The first collection leaves array buffers to a thread in the background, the second waits for it.
  gc();
  gc();
  const before = process.memoryUsage().arrayBuffers;
  for (let i = 0; i < callsPerSample; i++) await peer.predict();
  growths.push((process.memoryUsage().arrayBuffers - before) / callsPerSample);
}
await peer.close();
sendToParent(growths);
process.disconnect();
