/** REST the way one writes it with undici and JSON: the tensor as nested arrays, the answer read back into a typed array. */
import { request } from "undici";
import type { ConnectPeer } from "../peer.js";

/** undici's `request` with its default dispatcher, and JSON. */
export const connectUndici: ConnectPeer = (port, values) => ({
  predict: async () => {
    const { body } = await request(`http://127.0.0.1:${port}/v1/models/m:predict`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ inputs: [Array.from(values)] }),
    });
    const { outputs } = (await body.json()) as { outputs: number[][] };
    return Float32Array.from(outputs.flat());
  },
  close: () => undefined,
});
