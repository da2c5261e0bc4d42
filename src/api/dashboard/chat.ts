/**
 * The chat: asks through this node and shows, beside each answer, which ranks compute it and for how long a step. An answer that
 * stalls says so, and one that moved on over a fault says how long that took.
 */
import { type Connection, KeyNeeded } from "./connection.js";
import { html, setText } from "./dom.js";
import type { Device, Status } from "./wire.js";
import { duration, number } from "./words.js";

/** No text for this long: the answer waits for something. */
const stallMs = 1_200;

interface Turn { readonly role: "user" | "assistant"; content: string }

export interface ChatParts { readonly log: HTMLElement; readonly form: HTMLFormElement; readonly input: HTMLTextAreaElement; readonly send: HTMLButtonElement; readonly model: HTMLElement; readonly said: HTMLElement }

export class Chat {
  readonly #parts: ChatParts;
  readonly #connection: Connection;
  readonly #askForKey: (why: string) => void;
  readonly #turns: Turn[] = [];
  #status: Status | undefined;
  #running: { readonly abort: AbortController; readonly view: AnswerView } | undefined;

  constructor(parts: ChatParts, connection: Connection, askForKey: (why: string) => void) {
    this.#parts = parts;
    this.#connection = connection;
    this.#askForKey = askForKey;
    parts.form.addEventListener("submit", (event) => { event.preventDefault(); this.#submit(); });
    parts.input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
  }

  get busy(): boolean { return this.#running !== undefined; }

  show(status: Status): void {
    this.#status = status;
    setText(this.#parts.model, status.model.id);
    this.#running?.view.ring(status);
  }

  #submit(): void {
    if (this.#running) { this.#running.abort.abort(); return; }
    const question = this.#parts.input.value.trim();
    if (question === "" || !this.#status) return;
    this.#parts.input.value = "";
    void this.#ask(question, this.#status);
  }

  /** Never rejects: what goes wrong stands beside the answer. */
  async #ask(question: string, status: Status): Promise<void> {
    const { log, send } = this.#parts;
    this.#turns.push({ role: "user", content: question });
    const answer: Turn = { role: "assistant", content: "" };
    const view = new AnswerView(log);
    log.append(html("div", { class: "turn turn-user" }, html("p", {}, question)), view.root);
    const running = { abort: new AbortController(), view };
    this.#running = running;
    setText(send, "Stop");
    view.ring(status);
    const follow = setInterval(() => { view.tick(); }, 200);
    try {
      for await (const piece of this.#connection.chat(status.model.id, this.#turns, running.abort.signal)) {
        answer.content += piece.text;
        view.piece(piece.text, piece.tokens);
      }
      view.end("");
      // Once, and not with every token.
      setText(this.#parts.said, `Answered: ${answer.content}`);
    } catch (error) {
      if (error instanceof KeyNeeded) this.#askForKey(error.message);
      view.end(running.abort.signal.aborted ? "stopped" : error instanceof Error ? error.message : String(error));
    } finally {
      clearInterval(follow);
      this.#turns.push(answer);
      this.#running = undefined;
      setText(send, "Ask");
    }
  }
}

class AnswerView {
  readonly root: HTMLElement;
  readonly #log: HTMLElement;
  readonly #text = html("p", { class: "answer-text" });
  readonly #chips = html("ol", { class: "chips", "aria-label": "Computed by" });
  readonly #meta = html("p", { class: "answer-meta" });
  readonly #notes = html("ul", { class: "answer-notes" });
  readonly #startedAt = performance.now();
  #firstAt: number | undefined;
  #lastAt = performance.now();
  #pieces = 0;
  #tokens: number | undefined;
  #stalled = false;
  #over = false;
  #ranks = "";
  readonly #pids = new Map<string, number>();

  constructor(log: HTMLElement) {
    this.#log = log;
    this.root = html("article", { class: "turn turn-answer", "aria-label": "Answer" }, this.#text, this.#notes, this.#chips, this.#meta);
    this.root.dataset["state"] = "streaming";
  }

  piece(text: string, tokens: number | undefined): void {
    if (tokens !== undefined) this.#tokens = tokens;
    if (text === "") return;
    const now = performance.now();
    this.#firstAt ??= now;
    if (this.#stalled && this.#pieces > 0) this.#notes.append(html("li", {}, `✓ moved on after ${duration(now - this.#lastAt)}`));
    this.#stalled = false;
    this.#lastAt = now;
    this.#pieces += 1;
    const atEnd = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < 40;
    this.#text.append(text);
    if (atEnd) this.#log.scrollTop = this.#log.scrollHeight;
  }

  tick(): void {
    if (this.#over) return;
    this.#stalled = performance.now() - this.#lastAt > stallMs;
    this.root.dataset["state"] = this.#stalled ? "waiting" : "streaming";
    setText(this.#meta, this.#stalled ? `waiting for the ring, ${duration(performance.now() - this.#lastAt)}` : this.#numbers());
  }

  /** Which ranks compute, and what of a step each of them takes. */
  ring(status: Status): void {
    const ranked = status.devices.filter((device) => device.rank !== null).sort((a, b) => (a.rank ?? 0) - (b.rank ?? 0));
    const ranks = ranked.map(({ device_id }) => device_id).join(" → ");
    if (ranks !== this.#ranks) {
      if (this.#ranks !== "" && this.#pieces > 0) this.#notes.append(html("li", {}, `⟲ the ring changed: ${ranks}`));
      this.#chips.replaceChildren(...ranked.map(chip));
      this.#ranks = ranks;
    }
    for (const { device_id, worker } of ranked) {
      const before = this.#pids.get(device_id);
      const pid = worker?.pid ?? before;
      if (pid === undefined) continue;
      this.#pids.set(device_id, pid);
      if (before !== undefined && pid !== before) this.#notes.append(html("li", {}, `⟲ ${device_id} has a new worker`));
    }
    const longest = Math.max(0.001, ...(status.live?.ranks.map(({ compute_ms }) => compute_ms) ?? []));
    for (const [index, element] of [...this.#chips.children].entries()) {
      const compute = status.live?.ranks.find(({ rank }) => rank === index)?.compute_ms;
      const fill = element.querySelector<HTMLElement>(".chip-fill");
      const time = element.querySelector(".chip-time");
      if (fill) fill.style.inlineSize = `${Math.round((100 * (compute ?? 0)) / longest)}%`;
      if (time) setText(time, compute === undefined ? "" : duration(compute));
    }
  }

  end(problem: string): void {
    this.#over = true;
    this.root.dataset["state"] = problem === "" ? "done" : "failed";
    if (problem !== "") this.#notes.append(html("li", {}, problem));
    setText(this.#meta, this.#numbers());
  }

  #numbers(): string {
    if (this.#firstAt === undefined) return this.#over ? "" : `asked ${duration(performance.now() - this.#startedAt)} ago`;
    const seconds = (this.#lastAt - this.#firstAt) / 1_000;
    const count = this.#tokens ?? this.#pieces;
    return [`first token ${duration(this.#firstAt - this.#startedAt)}`, `${count} ${count === 1 ? "token" : "tokens"}`, ...(seconds > 0.3 ? [`${number((count - 1) / seconds)} a second`] : [])].join(" · ");
  }
}

function chip(device: Device): HTMLElement {
  return html("li", { class: "chip", "data-rank": (device.rank ?? 0) % 8 }, html("span", { class: "chip-fill" }), html("span", { class: "chip-rank" }, String(device.rank ?? 0)), html("span", { class: "chip-name" }, device.device_id), html("span", { class: "chip-time" }));
}
