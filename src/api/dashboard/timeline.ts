/** The time line: stories newest first, each fault with its parts on a scale of its own length, every event of it in words below. */
import { html, setText, svg } from "./dom.js";
import { type Story, stories } from "./incidents.js";
import type { Status } from "./wire.js";
import { ago, duration } from "./words.js";

const shownMax = 40;

export class TimelineView {
  readonly #list: HTMLElement;
  readonly #note: HTMLElement;
  readonly #opened = new Set<string>();
  #drawn = "";
  #times: { readonly element: HTMLElement; readonly atMs: number }[] = [];

  constructor(list: HTMLElement, note: HTMLElement) {
    this.#list = list;
    this.#note = note;
  }

  show({ events }: Status): void {
    const key = JSON.stringify(events);
    if (key !== this.#drawn) {
      this.#drawn = key;
      this.#draw(stories(events).slice(0, shownMax));
    }
    for (const { element, atMs } of this.#times) setText(element, ago(Date.now() - atMs));
  }

  #draw(shown: readonly Story[]): void {
    this.#times = [];
    const faults = shown.filter(({ fault }) => fault).length;
    setText(this.#note, faults === 0 ? "Nothing has gone wrong since these machines started." : `${faults === 1 ? "1 fault" : `${faults} faults`}, newest first`);
    this.#list.replaceChildren(...shown.map((story) => this.#entry(story)));
  }

  #entry(story: Story): HTMLElement {
    const when = html("time", { datetime: new Date(story.startMs).toISOString() }, clock(story.startMs));
    const since = html("span", { class: "since" });
    this.#times.push({ element: since, atMs: story.startMs });
    const root = html("li", { class: "story", "data-fault": String(story.fault), "data-tone": story.fault ? (story.resolved ? "good" : "bad") : "idle" });
    const head = html("div", { class: "story-head" }, html("p", { class: "story-when" }, when, " · ", since), html(story.fault ? "h3" : "p", { class: "story-title" }, story.title));
    root.append(head);
    if (!story.fault) return root;
    head.append(html("p", { class: "story-outcome" }, `${story.resolved ? "✓" : "…"} ${story.outcome}`));
    if (story.marks.some(({ atMs }) => atMs > story.startMs)) root.append(scale(story));
    const details = html("details", {}, html("summary", {}, `${story.events.length} ${story.events.length === 1 ? "event" : "events"}`),
      html("ol", { class: "steps" }, ...story.events.map((event) => html("li", { "data-severity": event.severity },
        html("span", { class: "step-time" }, `+${duration(Math.max(0, event.at_ms - story.startMs))}`), html("span", {}, event.count > 1 ? `${event.text} (${event.count} times)` : event.text),
        html("span", { class: "step-by" }, [event.phases.map(({ name, ms }) => `${name} ${duration(ms)}`).join(", "), `seen by ${event.seen_by.join(", ")}`].filter((text) => text !== "").join(" · "))))));
    details.open = this.#opened.has(story.id);
    details.addEventListener("toggle", () => { if (details.open) this.#opened.add(story.id); else this.#opened.delete(story.id); });
    root.append(details);
    return root;
  }
}

/** From the last sign of life to the last event; what the words below say, as a picture. */
function scale(story: Story): SVGSVGElement {
  const length = Math.max(1, story.endMs - story.startMs);
  const at = (ms: number): number => 6 + (988 * (ms - story.startMs)) / length;
  const good = story.marks.findLast(({ severity }) => severity === "info");
  const picture = svg("svg", { class: "scale", viewBox: "0 0 1000 14", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("line", { class: "scale-line", x1: 6, x2: 994, y1: 7, y2: 7 }));
  if (good) picture.append(svg("line", { class: "scale-down", x1: at(story.startMs), x2: at(good.atMs), y1: 7, y2: 7 }));
  for (const { atMs, severity } of story.marks) picture.append(svg("line", { class: "scale-mark", "data-severity": severity, x1: at(atMs), x2: at(atMs), y1: 1, y2: 13 }));
  return picture;
}

const clock = (ms: number): string => new Date(ms).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
