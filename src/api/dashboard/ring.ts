/**
 * The ring as a picture: an arc for each rank, as long as its share of the layers; inside it how busy its engine is; beside it the
 * machine's name and state; in the middle what the ring gives. While it computes, light runs along it in the direction of the steps.
 * The picture is drawn anew when its structure changes and only adjusted otherwise. The list of machines says the same in words.
 */
import { html, setText, svg } from "./dom.js";
import { type Segment, arcPath, chevronPath, onCircle, segments } from "./ring-geometry.js";
import type { Device, Status } from "./wire.js";
import { layersText, markOf, number, toneOf } from "./words.js";

const radius = 150;
const loadRadius = 119;
const labelRadius = 196;
const wideBox = "-330 -236 660 496";
const narrowBox = "-185 -185 370 370";
/** Narrower than this, names would be too small to read: the list below has them. */
const narrowPx = 460;

export class RingPicture {
  readonly #host: HTMLElement;
  readonly #spares: HTMLElement;
  #drawn = "";
  #root: SVGSVGElement | undefined;
  #loads: { readonly path: SVGPathElement; readonly rank: number }[] = [];
  #rate: SVGTextElement | undefined;

  constructor(host: HTMLElement, spares: HTMLElement) {
    this.#host = host;
    this.#spares = spares;
    new ResizeObserver(() => { this.#fit(); }).observe(host);
  }

  show(status: Status): void {
    const ranked = status.devices.filter((device) => device.rank !== null).sort((a, b) => (a.rank ?? 0) - (b.rank ?? 0));
    const structure = JSON.stringify([status.ready, status.leader?.device_id, ranked.map(({ device_id, rank, layers, status: state }) => [device_id, rank, layers, state])]);
    if (structure !== this.#drawn) {
      this.#drawn = structure;
      this.#draw(status, ranked);
    }
    const rate = status.live?.tokens_per_second ?? 0;
    if (this.#rate) setText(this.#rate, number(rate));
    this.#root?.setAttribute("data-flowing", String(status.ready && (rate > 0 || (status.live?.requests_running ?? 0) > 0)));
    for (const { path, rank } of this.#loads) {
      const busy = Math.min(1, ranked[rank]?.load?.busy_ratio ?? 0);
      path.style.strokeDashoffset = String(100 - 100 * busy);
      path.style.opacity = busy < 0.005 ? "0" : "1";
    }
    this.#showSpares(status.devices.filter((device) => device.rank === null && device.status !== "left"));
  }

  #draw(status: Status, ranked: readonly Device[]): void {
    const parts = segments(ranked.map(({ layers }) => (layers ? layers[1] - layers[0] : 0)));
    this.#loads = [];
    const title = svg("title", { id: "ring-picture-title" }, this.#describe(status, ranked));
    const root = svg("svg", { role: "img", "aria-labelledby": "ring-picture-title", class: "ring-svg" }, title, svg("circle", { class: "ring-track", r: radius }));
    for (const part of parts) {
      const device = ranked[part.rank];
      if (device) root.append(this.#segment(device, part));
    }
    if (parts.length > 1) for (const { to } of parts) root.append(svg("path", { class: "ring-chevron", d: chevronPath(to + 2.5, radius) }));
    // The light passes under the ranks' numbers.
    root.append(svg("circle", { class: "ring-flow", r: radius, pathLength: 100 }), ...parts.flatMap(badge));
    this.#rate = svg("text", { class: "ring-rate", y: 6 }, "0");
    root.append(this.#rate, svg("text", { class: "ring-unit", y: 32 }, "tokens a second"), svg("text", { class: "ring-state", y: -44 }, status.ready ? "serving" : ranked.length === 0 ? "no ring yet" : "repairing"));
    root.setAttribute("data-ready", String(status.ready));
    this.#root = root;
    this.#host.replaceChildren(root);
    this.#fit();
  }

  #segment(device: Device, part: Segment): SVGGElement {
    const middle = (part.from + part.to) / 2;
    const label = onCircle(middle, labelRadius);
    const anchor = Math.abs(label.x) < 40 ? "middle" : label.x > 0 ? "start" : "end";
    const tone = toneOf[device.status];
    const load = svg("path", { class: "ring-load", d: arcPath(part, loadRadius), pathLength: 100, "stroke-dasharray": "100 100" });
    this.#loads.push({ path: load, rank: part.rank });
    // Above and below the ring there is room for lines, beside it they are centred on the arc.
    const top = anchor === "middle" ? (label.y < 0 ? label.y - 16 : label.y + 14) : label.y - 8;
    return svg("g", { class: "ring-part", "data-rank": part.rank % 8, "data-tone": tone, "data-device": device.device_id },
      svg("path", { class: "ring-arc", d: arcPath(part, radius) }),
      svg("path", { class: "ring-load-track", d: arcPath(part, loadRadius) }), load,
      svg("g", { class: "ring-label", "text-anchor": anchor },
        svg("text", { class: "ring-name", x: label.x, y: top }, shortened(device.device_id)),
        svg("text", { class: "ring-detail", x: label.x, y: top + 18 }, layersText(device.layers)),
        svg("text", { class: "ring-health", x: label.x, y: top + 35 }, `${markOf[tone]} ${device.status}`)));
  }

  #describe(status: Status, ranked: readonly Device[]): string {
    if (ranked.length === 0) return "There is no ring yet.";
    const parts = ranked.map((device) => `rank ${device.rank ?? 0} is ${device.device_id}, ${layersText(device.layers)}, ${device.status}`);
    return `The ring ${status.ready ? "serves" : "does not serve"}: ${parts.join("; ")}.`;
  }

  #showSpares(devices: readonly Device[]): void {
    const key = devices.map(({ device_id, status }) => `${device_id} ${status}`).join("|");
    if (this.#spares.dataset["key"] === key) return;
    this.#spares.dataset["key"] = key;
    this.#spares.replaceChildren(...devices.map((device) => html("li", { class: "pill", "data-tone": toneOf[device.status] }, `${markOf[toneOf[device.status]]} ${device.device_id} — ${device.status === "healthy" ? "standing by" : device.status}`)));
  }

  #fit(): void {
    const narrow = this.#host.clientWidth < narrowPx;
    this.#root?.setAttribute("viewBox", narrow ? narrowBox : wideBox);
    this.#root?.setAttribute("data-narrow", String(narrow));
  }
}

function badge({ rank, from, to }: Segment): SVGElement[] {
  const { x, y } = onCircle((from + to) / 2, radius);
  return [svg("circle", { class: "ring-badge", cx: x, cy: y, r: 15 }), svg("text", { class: "ring-rank", x, y: y + 5.5 }, String(rank))];
}

const shortened = (name: string): string => (name.length > 18 ? `${name.slice(0, 17)}…` : name);
