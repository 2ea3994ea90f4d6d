/**
 * A process that makes one call with an undici Pool and nothing else.
 *
 * Usage: undici-pool.mjs PORT [look-up]. With `look-up` it asks for the model's metadata first, as every client must that is to know dtypes.
 */
import { Pool } from "undici";

const [port, lookUp] = process.argv.slice(2);
const pool = new Pool(`http://127.0.0.1:${port}`);
const model = "/v1/models/m";

if (lookUp !== undefined) {
  const { body } = await pool.request({ path: `${model}/metadata`, method: "GET" });
  if ((await body.json()).metadata === undefined) throw new Error("expected metadata in the answer");
}
const { body } = await pool.request({
  path: `${model}:predict`,
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ inputs: { x: [[1, 2, 3, 4]] } }),
});
if ((await body.json()).outputs[0].length !== 4) throw new Error("expected 4 values in the answer");
await pool.close();
