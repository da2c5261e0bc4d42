/**
 * The page put together: asks its node for the status, again and again, and hands it to the parts. It asks more often while an answer
 * streams, and hardly while nobody looks. A node that does not answer leaves the last picture standing, and says so.
 */
import { Chat } from "./chat.js";
import { Connection, KeyNeeded } from "./connection.js";
import { byId, html, sentence, setText } from "./dom.js";
import { Machines } from "./machines.js";
import { RingPicture } from "./ring.js";
import { themeButton } from "./theme.js";
import { Tiles } from "./tiles.js";
import { TimelineView } from "./timeline.js";
import type { Status } from "./wire.js";
import { type Tone, markOf } from "./words.js";

const pollMs = { chatting: 500, watching: 1_000, hidden: 10_000 };

themeButton(byId("theme", HTMLButtonElement));
const connection = new Connection();
const ring = new RingPicture(byId("ring", HTMLElement), byId("spares", HTMLElement));
const tiles = new Tiles(byId("tiles", HTMLElement));
const machines = new Machines(byId("machines", HTMLElement));
const timeline = new TimelineView(byId("timeline", HTMLElement), byId("time-note", HTMLElement));
const chat = new Chat({
  log: byId("chat-log", HTMLElement), form: byId("chat-form", HTMLFormElement), input: byId("chat-input", HTMLTextAreaElement), send: byId("chat-send", HTMLButtonElement), model: byId("chat-model", HTMLElement), said: byId("chat-said", HTMLElement),
}, connection, askForKey);

function askForKey(why: string): void {
  const dialog = byId("key-dialog", HTMLDialogElement);
  if (dialog.open) return;
  setText(byId("key-why", HTMLElement), why);
  dialog.showModal();
}
byId("key-form", HTMLFormElement).addEventListener("submit", () => {
  const input = byId("key-input", HTMLInputElement);
  connection.setKey(input.value.trim());
  input.value = "";
  poll();
});

function state(tone: Tone, text: string): void {
  const element = byId("state", HTMLElement);
  element.dataset["tone"] = tone;
  setText(element, `${markOf[tone]} ${text}`);
}

function show(status: Status): void {
  setText(byId("cluster", HTMLElement), status.cluster.name);
  if (status.draining) state("warn", "Leaving");
  else if (status.ready) state("good", "Serving");
  else state("bad", `Not serving: ${status.reasons[0]?.message ?? "the ring is being put together"}`);
  const term = status.epoch ? `, term ${status.epoch.counter}` : "";
  setText(byId("ring-note", HTMLElement), status.plan ? `${status.world_size === 1 ? "1 machine" : `${status.world_size} machines`}, plan ${status.plan.version}${term}` : "no plan yet");
  setText(byId("node", HTMLElement), `Seen from ${status.node.device_id} · minid ${status.node.version}`);
  showConditions(status);
  ring.show(status);
  tiles.show(status);
  machines.show(status);
  timeline.show(status);
  chat.show(status);
}

let conditionsShown = "";
function showConditions({ conditions }: Status): void {
  const telling = conditions.filter(({ severity }) => severity !== "info");
  const key = JSON.stringify(telling);
  if (key === conditionsShown) return;
  conditionsShown = key;
  const host = byId("notices", HTMLElement);
  host.hidden = telling.length === 0;
  host.replaceChildren(...telling.map(({ code, severity, message, remedy }) => html("div", { class: "notice", "data-tone": severity === "error" ? "bad" : "warn" },
    html("p", {}, ...sentence(message)), remedy === "" ? undefined : html("p", { class: "remedy" }, ...sentence(remedy)), html("code", { class: "notice-code" }, code))));
}

let timer: ReturnType<typeof setTimeout> | undefined;
let asking = false;

/** Asks now, and then again and again. */
function poll(): void {
  if (asking) return;
  clearTimeout(timer);
  asking = true;
  connection.status().then(show, (error: unknown) => {
    if (error instanceof KeyNeeded) { state("warn", "A key is needed"); askForKey(error.message); }
    else state("bad", "This node does not answer; asking again");
  }).finally(() => {
    asking = false;
    timer = setTimeout(poll, document.hidden ? pollMs.hidden : chat.busy ? pollMs.chatting : pollMs.watching);
  }).catch(() => undefined);
}
document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });
poll();
