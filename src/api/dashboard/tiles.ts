/** The live numbers: each a value and the line that led to it. The line's data is the page's own memory of the last minutes. */
import { html, setText, svg } from "./dom.js";
import type { Live, Status } from "./wire.js";
import { duration, number, percent } from "./words.js";

interface TileSpec { readonly label: string; readonly hint: string; readonly value: (live: Live) => number | null; readonly text: (value: number) => string }

const specs: readonly TileSpec[] = [
  { label: "Tokens a second", hint: "sampled by the ring", value: (live) => live.tokens_per_second, text: number },
  { label: "First token", hint: "mean of the last minute", value: (live) => live.first_token_ms, text: duration },
  { label: "Between tokens", hint: "mean of the last minute", value: (live) => live.inter_token_ms, text: duration },
  { label: "A hop", hint: "from rank to rank", value: (live) => live.hop_ms, text: duration },
  { label: "Running", hint: "sequences now", value: (live) => live.requests_running, text: number },
  { label: "Waiting", hint: "in the queue", value: (live) => live.requests_waiting, text: number },
  { label: "Cache in use", hint: "of key-value memory", value: (live) => live.kv_use_ratio, text: percent },
];

const samplesMax = 120;
const width = 120;
const height = 30;

interface Tile { readonly spec: TileSpec; readonly value: HTMLElement; readonly line: SVGPathElement; readonly area: SVGPathElement; readonly samples: (number | null)[] }

export class Tiles {
  readonly #tiles: readonly Tile[];

  constructor(host: HTMLElement) {
    this.#tiles = specs.map((spec) => {
      const value = html("p", { class: "tile-value" }, "–");
      const line = svg("path", { class: "spark-line" });
      const area = svg("path", { class: "spark-area" });
      host.append(html("div", { class: "tile" }, html("h3", {}, spec.label), value, html("p", { class: "tile-hint" }, spec.hint),
        svg("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" }, area, line)));
      return { spec, value, line, area, samples: [] };
    });
  }

  show({ live }: Status): void {
    for (const { spec, value, line, area, samples } of this.#tiles) {
      const now = live === null ? null : spec.value(live);
      setText(value, now === null ? "–" : spec.text(now));
      samples.push(now);
      if (samples.length > samplesMax) samples.shift();
      const path = sparkline(samples);
      line.setAttribute("d", path);
      area.setAttribute("d", path === "" ? "" : `${path} L ${width} ${height} L ${xOf(0, samples.length)} ${height} Z`);
    }
  }
}

/** The newest sample is at the right edge. */
const xOf = (index: number, count: number): number => Math.round((width - ((count - 1 - index) * width) / (samplesMax - 1)) * 10) / 10;

function sparkline(samples: readonly (number | null)[]): string {
  const most = Math.max(...samples.map((sample) => sample ?? 0));
  if (most === 0 || samples.length < 2) return "";
  return samples.map((sample, index) => `${index === 0 ? "M" : "L"} ${xOf(index, samples.length)} ${Math.round((height - 2 - ((sample ?? 0) / most) * (height - 6)) * 10) / 10}`).join(" ");
}
