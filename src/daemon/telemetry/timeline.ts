/**
 * What happened, for people: faults and recoveries as the cluster's nodes saw them. Every node keeps its own, tells the others
 * (bulletin.ts), and shows one list; what several nodes saw of the same thing is one entry.
 *
 * Bounded everywhere. Times are the wall clock of the node that saw it. Nothing here decides anything, and nothing is kept on disk:
 * what a machine saw lives on with the others.
 */

export const timelineKinds = [
  "worker_failed", "worker_restarted", "worker_recovered", "worker_crash_loop", "load_refused",
  "member_joined", "member_suspect", "member_dead", "member_left", "member_back", "agent_restarted",
  "leader_lost", "leader_elected", "planned", "unplannable", "ring_ready", "ring_not_ready", "answers_resumed", "slept", "clock_jumped",
] as const;
export type TimelineKind = (typeof timelineKinds)[number];

export interface TimelineEvent {
  /** `<node id>/<start of its agent>/<number>` of the node that saw it: the same wherever it is shown. */
  readonly id: string;
  /** Unix milliseconds; of the last one when several were counted as one. */
  readonly at_ms: number;
  readonly kind: TimelineKind;
  readonly severity: "info" | "warning" | "error";
  /** Whom it is about; "" for the cluster as a whole. */
  readonly device_id: string;
  /** Names of the nodes that saw it. */
  readonly seen_by: readonly string[];
  readonly text: string;
  /** How long it took, from the last sign of health (or the cause) to this. */
  readonly took_ms: number | null;
  /** Parts of that time, in order. */
  readonly phases: readonly { readonly name: string; readonly ms: number }[];
  /** How many of the kind came together. */
  readonly count: number;
}

/** An event as its node words it; the log adds the rest. */
export type Happening = Pick<TimelineEvent, "kind" | "severity" | "device_id" | "text"> & Partial<Pick<TimelineEvent, "took_ms" | "phases">>;

/** Entries that one node keeps of its own, and tells. */
export const ownEventsMax = 32;
/** Entries kept of all nodes, and shown. */
export const timelineMax = 96;
export const eventTextMax = 300;
/** Events of a kind, about the same, within this long of each other are one entry. */
const togetherMs = 3_000;

export class Timeline {
  readonly #nodeId: string;
  readonly #startedMs: number;
  #own: TimelineEvent[] = [];
  readonly #others = new Map<string, TimelineEvent>();
  #count = 0;

  /** @param startedMs Unix milliseconds: tells the lives of one node apart. */
  constructor(nodeId: string, startedMs: number) {
    this.#nodeId = nodeId;
    this.#startedMs = startedMs;
  }

  /** This node's own, oldest first. */
  get own(): readonly TimelineEvent[] { return this.#own; }

  note(happening: Happening, seenBy: string, wallMs: number): void {
    const last = this.#own.findLast((event) => event.kind === happening.kind && event.device_id === happening.device_id);
    if (last && wallMs - last.at_ms < togetherMs) {
      const longer = (happening.took_ms ?? 0) > (last.took_ms ?? 0) ? { took_ms: happening.took_ms ?? null, phases: happening.phases ?? [] } : {};
      this.#own[this.#own.indexOf(last)] = { ...last, ...longer, at_ms: wallMs, text: happening.text.slice(0, eventTextMax), count: last.count + 1 };
      return;
    }
    this.#count += 1;
    const event: TimelineEvent = { took_ms: null, phases: [], ...happening, text: happening.text.slice(0, eventTextMax), id: `${this.#nodeId}/${this.#startedMs}/${this.#count}`, at_ms: wallMs, seen_by: [seenBy], count: 1 };
    this.#own = [...this.#own, event].slice(-ownEventsMax);
  }

  /** What another node saw; repeating it is harmless. Events that it tells under another node's name are dropped. */
  learn(fromNodeId: string, events: readonly TimelineEvent[]): void {
    for (const event of events) if (event.id.startsWith(`${fromNodeId}/`)) this.#others.set(event.id, event);
    const surplus = this.#others.size - timelineMax;
    if (surplus <= 0) return;
    for (const { id } of [...this.#others.values()].sort(byTime).slice(0, surplus)) this.#others.delete(id);
  }

  /** Oldest first, at most `timelineMax`. */
  all(): TimelineEvent[] { return merged([...this.#others.values(), ...this.#own]).slice(-timelineMax); }
}

const byTime = (a: TimelineEvent, b: TimelineEvent): number => a.at_ms - b.at_ms || (a.id < b.id ? -1 : 1);

/** Oldest first; what several nodes saw of one thing as one entry, with the first one's time and words. */
function merged(events: readonly TimelineEvent[]): TimelineEvent[] {
  const shown: TimelineEvent[] = [];
  for (const event of events.toSorted(byTime)) {
    const at = shown.findLastIndex((earlier) => earlier.kind === event.kind && earlier.device_id === event.device_id && event.at_ms - earlier.at_ms < togetherMs && !earlier.seen_by.some((name) => event.seen_by.includes(name)));
    const same = shown[at];
    if (same) shown[at] = { ...same, seen_by: [...same.seen_by, ...event.seen_by], took_ms: longest(same.took_ms, event.took_ms), phases: (event.took_ms ?? 0) > (same.took_ms ?? 0) ? event.phases : same.phases, count: event.kind === "answers_resumed" ? same.count + event.count : Math.max(same.count, event.count) };
    else shown.push(event);
  }
  return shown;
}

const longest = (a: number | null, b: number | null): number | null => (a === null ? b : b === null ? a : Math.max(a, b));
