/**
 * From the list of events to stories: a fault, what was done about it, and when the answers moved on. Pure.
 *
 * A story begins with a fault and takes in what follows until the cluster has been quiet for a while; an unfinished one waits longer.
 * Everything else that happened (somebody joined, a first plan) is a story of one event.
 */
import type { TimelineEvent } from "./wire.js";

export interface Mark { readonly atMs: number; readonly label: string; readonly severity: TimelineEvent["severity"] }

export interface Story {
  readonly id: string;
  readonly fault: boolean;
  readonly startMs: number;
  readonly endMs: number;
  readonly title: string;
  /** What became of it; "" for what is no fault. */
  readonly outcome: string;
  readonly resolved: boolean;
  readonly severity: TimelineEvent["severity"];
  /** In order of time, the first at `startMs`. */
  readonly marks: readonly Mark[];
  readonly events: readonly TimelineEvent[];
}

const faults: ReadonlySet<string> = new Set(["worker_failed", "worker_crash_loop", "load_refused", "member_suspect", "member_dead", "agent_restarted", "leader_lost", "unplannable", "ring_not_ready", "worker_restarted", "slept"]);
const recoveries: ReadonlySet<string> = new Set(["worker_recovered", "ring_ready", "answers_resumed", "leader_elected", "planned", "member_back", "member_joined"]);
const ends: ReadonlySet<string> = new Set(["worker_recovered", "ring_ready", "answers_resumed"]);

const quietMs = 12_000;
const unfinishedMs = 120_000;

/** @param events oldest first. @returns newest first. */
export function stories(events: readonly TimelineEvent[]): Story[] {
  const groups: TimelineEvent[][] = [];
  let open: TimelineEvent[] | undefined;
  for (const event of events) {
    const last = open?.at(-1);
    const belongs = open && last && (faults.has(event.kind) || recoveries.has(event.kind)) && event.at_ms - last.at_ms < (isResolved(open) ? quietMs : unfinishedMs);
    if (open && belongs) { open.push(event); continue; }
    const group = [event];
    groups.push(group);
    open = faults.has(event.kind) ? group : undefined;
  }
  return groups.map(storyOf).toReversed();
}

function storyOf(events: readonly TimelineEvent[]): Story {
  const first = events[0]!;
  const fault = faults.has(first.kind);
  const startMs = fault ? Math.min(...events.map((event) => (startsBefore.has(event.kind) ? event.at_ms - (event.took_ms ?? 0) : event.at_ms))) : first.at_ms;
  const endMs = Math.max(...events.map(({ at_ms }) => at_ms));
  const resolved = !fault || isResolved(events);
  const worst = events.some(({ severity }) => severity === "error") ? "error" : events.some(({ severity }) => severity === "warning") ? "warning" : "info";
  return {
    id: first.id, fault, startMs, endMs, resolved, severity: worst, events,
    title: fault ? titleOf(events) : first.text,
    outcome: fault ? outcomeOf(events, startMs, resolved) : "",
    marks: fault ? marksOf(events, startMs) : [],
  };
}

/** Their `took_ms` reaches back to the last sign of health. */
const startsBefore: ReadonlySet<string> = new Set(["worker_recovered", "answers_resumed"]);

/** What stops the ring, or part of it; a machine that goes without one of these was not needed. */
const stops: ReadonlySet<string> = new Set(["worker_failed", "worker_crash_loop", "load_refused", "leader_lost", "ring_not_ready", "unplannable"]);

/** Nothing had to be mended; or something ended it, and no fault came after that. */
function isResolved(events: readonly TimelineEvent[]): boolean {
  if (!events.some(({ kind }) => stops.has(kind))) return true;
  const ended = events.findLastIndex(({ kind }) => ends.has(kind));
  return ended >= 0 && !events.slice(ended + 1).some(({ kind }) => kind === "worker_failed" || kind === "member_dead" || kind === "ring_not_ready" || kind === "unplannable");
}

function titleOf(events: readonly TimelineEvent[]): string {
  const about = (kind: string): string[] => [...new Set(events.filter((event) => event.kind === kind).map(({ device_id }) => device_id))];
  const dead = about("member_dead");
  if (dead.length > 0) return `${list(dead)} ${dead.length > 1 ? "are" : "is"} gone`;
  const workers = [...new Set([...about("worker_failed"), ...about("worker_restarted")])];
  if (workers.length > 0) return workers.length === 1 ? `The worker of ${list(workers)} died` : `The workers of ${list(workers)} died`;
  const agents = about("agent_restarted");
  if (agents.length > 0) return `The agent of ${list(agents)} started anew`;
  const quiet = about("member_suspect");
  if (quiet.length > 0) return `${list(quiet)} went quiet`;
  return events.find(({ severity }) => severity === "error")?.text ?? events[0]!.text;
}

function outcomeOf(events: readonly TimelineEvent[], startMs: number, resolved: boolean): string {
  const after = (event: TimelineEvent): string => seconds(event.at_ms - startMs);
  const moved = events.filter(({ kind }) => kind === "answers_resumed");
  const count = moved.reduce((sum, event) => sum + event.count, 0);
  if (!resolved) return "under repair";
  const last = moved.at(-1);
  if (last) return `${count === 1 ? "1 answer" : `${count} answers`} moved on after ${after(last)}`;
  const ready = events.findLast(({ kind }) => kind === "ring_ready") ?? events.findLast(({ kind }) => kind === "worker_recovered");
  return ready ? `ring whole again after ${after(ready)}` : "the ring went on";
}

const labels: Readonly<Record<string, string>> = {
  worker_failed: "found", member_suspect: "missed", member_dead: "given up", worker_restarted: "new worker", worker_recovered: "computes again", leader_lost: "no rank 0", leader_elected: "new rank 0",
  planned: "new plan", ring_ready: "ring ready", ring_not_ready: "ring stops", answers_resumed: "answers move on", member_back: "back", agent_restarted: "new agent", slept: "woke",
};

function marksOf(events: readonly TimelineEvent[], startMs: number): Mark[] {
  const marks: Mark[] = [{ atMs: startMs, label: "last sign of life", severity: "error" }];
  for (const { kind, at_ms, severity } of events) {
    const label = labels[kind];
    if (label !== undefined) marks.push({ atMs: at_ms, label, severity: kind === "answers_resumed" || kind === "ring_ready" || kind === "worker_recovered" ? "info" : severity });
  }
  return marks;
}

const list = (names: readonly string[]): string => (names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1) ?? ""}`);
const seconds = (ms: number): string => `${(Math.max(0, ms) / 1_000).toFixed(ms < 10_000 ? 1 : 0)} s`;
