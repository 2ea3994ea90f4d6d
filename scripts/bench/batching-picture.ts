/** The picture of `docs/batching.md`, as SVG in colours that can be read on white and on black. */

/** What was measured with so many callers. */
export interface Point {
  readonly callers: number;
  readonly callsPerSecond: number;
  readonly p99Ms: number;
}

/** Points in the order of their callers. */
export type Line = Point[];

/** One model: calls that share requests, and calls on their own. */
export interface PictureRow {
  readonly title: string;
  readonly on: Line;
  readonly off: Line;
}

const panelColumns = [
  { figure: "callsPerSecond", title: "calls per second" },
  { figure: "p99Ms", title: "p99 latency, ms" },
] as const;

type Figure = (typeof panelColumns)[number]["figure"];

const width = 800;
const panel = { left: 60, width: 275, height: 190, pitchX: 395, top: 78, pitchY: 262 };
const ink = "#737c86";
const styles = {
  on: { color: "#2f81f7", dash: "", label: "batching" },
  off: { color: "#d9730d", dash: ' stroke-dasharray="6 4"', label: "off" },
} as const;

/** One row of panels for each model: throughput and latency over callers, all axes logarithmic. */
export function batchingPicture(rows: readonly PictureRow[], caption: string): string {
  const height = panel.top + rows.length * panel.pitchY;
  const panels = rows.flatMap((row, y) =>
    panelColumns.map(({ figure, title }, x) => {
      const heading = x === 0 ? text(-44, -30, row.title, 'font-weight="bold" font-size="15"') : "";
      const content = `${heading}${text(0, -8, title)}${panelOf(row, figure)}`;
      return `<g transform="translate(${panel.left + x * panel.pitchX} ${panel.top + y * panel.pitchY})">\n${content}</g>\n`;
    }),
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" role="img" aria-labelledby="title"
  font-family="system-ui, sans-serif" font-size="13" fill="${ink}">
<title id="title">Throughput and p99 latency over callers in flight, with batching and without</title>
${text(16, 20, caption)}${panels.join("")}</svg>
`;
}

/** Axes and both lines of one figure. */
function panelOf(row: PictureRow, figure: Figure): string {
  const points = [...row.on, ...row.off];
  const values = points.map((point) => point[figure]);
  const [low, high] = [Math.floor(Math.log10(Math.min(...values))), Math.ceil(Math.log10(Math.max(...values)))];
  const mostCallers = Math.max(...points.map(({ callers }) => callers));
  const xOf = (callers: number) => (Math.log2(callers) / Math.log2(mostCallers)) * panel.width;
  const yOf = (value: number) => (1 - (Math.log10(value) - low) / Math.max(1, high - low)) * panel.height;

  let drawn = "";
  for (let power = low; power <= Math.max(high, low + 1); power++) {
    const y = yOf(10 ** power);
    drawn += `<path d="M0 ${round(y)}H${panel.width}" stroke="${ink}" stroke-opacity="0.35"/>\n`;
    drawn += text(-6, y + 4, numberText(10 ** power), 'text-anchor="end"');
  }
  for (const { callers } of row.on) drawn += text(xOf(callers), panel.height + 17, String(callers), 'text-anchor="middle"');
  drawn += text(panel.width / 2, panel.height + 34, "callers in flight", 'text-anchor="middle"');

  // The labels stand at the ends of their lines, apart from each other.
  const ends = { on: yOf(row.on.at(-1)?.[figure] as number), off: yOf(row.off.at(-1)?.[figure] as number) };
  const apart = Math.max(0, 16 - Math.abs(ends.on - ends.off)) / 2;
  const upper = ends.on < ends.off ? "on" : "off";
  for (const side of ["on", "off"] as const) {
    const { color, dash, label } = styles[side];
    const path = row[side].map((point) => `${round(xOf(point.callers))} ${round(yOf(point[figure]))}`).join("L");
    drawn += `<path d="M${path}" fill="none" stroke="${color}" stroke-width="2.5"${dash}/>\n`;
    const labelY = ends[side] + 4 + (side === upper ? -apart : apart);
    drawn += text(panel.width + 6, labelY, label, `fill="${color}"`);
  }
  return drawn;
}

function text(x: number, y: number, content: string, attributes = ""): string {
  const escaped = content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${round(x)}" y="${round(y)}"${attributes === "" ? "" : ` ${attributes}`}>${escaped}</text>\n`;
}

function round(value: number): string {
  return String(Math.round(value * 10) / 10);
}

/** `0.1`, `10`, `10k`. */
function numberText(value: number): string {
  return value >= 1000 ? `${value / 1000}k` : String(value);
}
