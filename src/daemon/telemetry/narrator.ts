/**
 * From the cores' events to sentences of the timeline. Says only what people want to know of a fault: what died, when it was
 * found, what was done, when the answers moved on. A pure translation, but for what it has to remember of an outage under way.
 */
import type { ClusterEvent } from "../cluster/contract.js";
import type { Recovery } from "../inference/resume.js";
import type { WorkerFacts } from "../membership/facts.js";
import type { SupervisorEvent } from "../supervisor/types.js";
import type { Happening } from "./timeline.js";

export class Narrator {
  readonly #self: string;
  #phases: { name: string; ms: number }[] = [];
  #wasHealthy = false;
  #wasReady = false;
  #readyVersion = 0;

  /** @param self this node's name. */
  constructor(self: string) { this.#self = self; }

  /** This node's worker, whenever what is known of it changed. A worker that has yet to become healthy has not failed. */
  worker(facts: WorkerFacts): Happening | undefined {
    const failed = this.#wasHealthy && !facts.healthy && facts.phase !== "draining";
    this.#wasHealthy = facts.healthy;
    if (!failed) return undefined;
    return { kind: "worker_failed", severity: "error", device_id: this.#self, text: `The worker of ${this.#self} stopped answering${facts.error === "" ? "" : `: ${facts.error}`}` };
  }

  supervisor(event: SupervisorEvent): Happening | undefined {
    const device_id = this.#self;
    switch (event.kind) {
      case "restarted": {
        const why = event.reason === "died" ? "the one before died" : `the one before was killed: ${event.reason.replaceAll("_", " ")}`;
        return { kind: "worker_restarted", severity: "warning", device_id, text: `A new worker runs on ${device_id} (${why})` };
      }
      case "recovery": {
        if (event.phase !== "total") { this.#phases.push({ name: event.phase, ms: event.tookMs }); return undefined; }
        const phases = this.#phases;
        this.#phases = [];
        return { kind: "worker_recovered", severity: "info", device_id, text: `The worker of ${device_id} computes again`, took_ms: event.tookMs, phases };
      }
      case "loadRefused": return { kind: "load_refused", severity: "error", device_id, text: `The worker of ${device_id} could not load its stage: ${event.message}` };
      case "crashLoop": return { kind: "worker_crash_loop", severity: "error", device_id, text: `The worker of ${device_id} died ${event.deathsInARow} times in a row` };
    }
  }

  cluster(event: ClusterEvent): Happening | undefined {
    const everybody = "";
    switch (event.kind) {
      case "member": return this.#member(event.deviceId, event.from, event.to, event.cause);
      case "member_restarted": return { kind: "agent_restarted", severity: "warning", device_id: event.deviceId, text: `The agent of ${event.deviceId} started anew` };
      case "leader_changed": return event.leader === undefined ? { kind: "leader_lost", severity: "warning", device_id: everybody, text: "The cluster has no rank 0 for the moment" } : undefined;
      case "election_won": return { kind: "leader_elected", severity: "info", device_id: this.#self, text: `${this.#self} is rank 0 now (${words(event.cause)}), term ${event.epoch.counter}`, took_ms: event.tookMs };
      case "planned": return { kind: "planned", severity: "info", device_id: everybody, text: `Plan ${event.version} over ${event.worldSize} ${event.worldSize === 1 ? "machine" : "machines"}: ${event.why}` };
      case "unplannable": return { kind: "unplannable", severity: "error", device_id: everybody, text: `No plan is possible: ${event.reason}` };
      case "ready": {
        // Later times of the same plan are workers that came back: their own recovery says how long that took.
        const first = event.version > this.#readyVersion;
        this.#wasReady = true;
        this.#readyVersion = event.version;
        return { kind: "ring_ready", severity: "info", device_id: everybody, text: `The ring is ready: every stage of plan ${event.version} is loaded`, ...(first ? { took_ms: event.sincePlanMs } : {}) };
      }
      case "not_ready": {
        const fell = this.#wasReady;
        this.#wasReady = false;
        return fell ? { kind: "ring_not_ready", severity: "error", device_id: everybody, text: `The ring does not compute: ${event.reasons[0] ?? "it is being put together"}` } : undefined;
      }
      case "slept": return { kind: "slept", severity: "warning", device_id: this.#self, text: `${this.#self} was asleep or stood still`, took_ms: event.forMs };
      case "clock_jumped": return { kind: "clock_jumped", severity: "warning", device_id: this.#self, text: `The clock of ${this.#self} jumped by ${Math.round(event.byMs / 1_000)} s` };
      case "election_started":
      case "message_refused": return undefined;
    }
  }

  /** An answer of this node's front door that goes on. */
  resumed(recovery: Recovery): Happening {
    const { cause, detectMs, waitMs, replayMs, replayedTokens } = recovery;
    return {
      kind: "answers_resumed", severity: "info", device_id: this.#self, took_ms: detectMs + waitMs + replayMs,
      text: `An answer moved on after ${words(cause)}, ${replayedTokens} tokens into it`,
      phases: [{ name: "notice", ms: detectMs }, { name: "wait", ms: waitMs }, { name: "replay", ms: replayMs }],
    };
  }

  #member(device_id: string, from: string, to: string, cause: string): Happening | undefined {
    switch (to) {
      case "alive":
        if (from === "suspect") return undefined;
        return from === "dead" || from === "left"
          ? { kind: "member_back", severity: "info", device_id, text: `${device_id} is back` }
          : { kind: "member_joined", severity: "info", device_id, text: `${device_id} joined` };
      case "suspect": return { kind: "member_suspect", severity: "warning", device_id, text: `${device_id} has gone quiet: ${cause}` };
      case "dead": return { kind: "member_dead", severity: "error", device_id, text: `${device_id} is gone: ${cause}` };
      case "left": return { kind: "member_left", severity: "info", device_id, text: `${device_id} left in order` };
      default: return undefined;
    }
  }
}

const words = (code: string): string => code.replaceAll("_", " ");
