/** The machines in words and bars: what the ring's picture shows, and what does not fit into it. One card each, kept while it stays. */
import { html, keyed, setText } from "./dom.js";
import type { Device, Status } from "./wire.js";
import { bytes, duration, layersText, markOf, number, percent, toneOf } from "./words.js";

interface Card { readonly root: HTMLElement; readonly update: (device: Device) => void }

export class Machines {
  readonly #list: HTMLElement;
  readonly #elements = new Map<string, HTMLElement>();
  readonly #cards = new Map<string, Card>();

  constructor(list: HTMLElement) { this.#list = list; }

  show({ devices }: Status): void {
    const shown = devices.filter((device) => device.status !== "left");
    keyed(this.#list, this.#elements, shown.map(({ node_id }) => node_id), (key) => {
      const card = newCard();
      this.#cards.set(key, card);
      return card.root;
    });
    for (const key of this.#cards.keys()) if (!this.#elements.has(key)) this.#cards.delete(key);
    for (const device of shown) this.#cards.get(device.node_id)?.update(device);
  }
}

function newCard(): Card {
  const badge = html("span", { class: "badge" });
  const name = html("h3");
  const state = html("p", { class: "pill" });
  const bar = html("div", { class: "meter-fill" });
  const meter = html("div", { class: "meter" }, bar);
  const facts = html("dl", { class: "facts" });
  const trouble = html("p", { class: "trouble" });
  const values = new Map<string, HTMLElement>();
  for (const label of ["Layers", "Engine busy", "Memory", "Cache", "Steps a second", "Restarts"]) {
    const value = html("dd");
    values.set(label, value);
    facts.append(html("div", {}, html("dt", {}, label), value));
  }
  const root = html("li", { class: "machine" }, html("div", { class: "machine-head" }, badge, name, state), meter, facts, trouble);
  const set = (label: string, text: string): void => { const value = values.get(label); if (value) setText(value, text); };
  return {
    root,
    update(device) {
      const { load, worker, rank } = device;
      const tone = toneOf[device.status];
      setText(badge, rank === null ? "–" : String(rank));
      badge.setAttribute("title", rank === null ? "holds no stage" : `rank ${rank}`);
      badge.dataset["rank"] = rank === null ? "none" : String(rank % 8);
      setText(name, device.device_id);
      setText(state, `${markOf[tone]} ${device.status}`);
      state.dataset["tone"] = tone;
      bar.style.inlineSize = `${Math.round(100 * (load?.busy_ratio ?? 0))}%`;
      bar.dataset["rank"] = badge.dataset["rank"];
      set("Layers", rank === null ? "none" : `${layersText(device.layers).replace("layers ", "")}${device.role === "coordinator" ? ", embeddings, head" : ""}`);
      set("Engine busy", load ? percent(load.busy_ratio) : "–");
      set("Memory", `${load ? bytes(load.rss_bytes) : "–"} of ${bytes(device.memory_bytes)}`);
      set("Cache", load ? bytes(load.kv_bytes) : "–");
      set("Steps a second", load ? number(load.steps_per_second) : "–");
      set("Restarts", String(worker?.restarts ?? 0));
      const silent = !device.self && device.agent.last_heard_ms > 3_000 ? `not heard for ${duration(device.agent.last_heard_ms)}` : "";
      setText(trouble, [worker?.error ?? "", silent].filter((text) => text !== "").join("; "));
    },
  };
}
