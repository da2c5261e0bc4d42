/**
 * Runs the cluster core against the real world: ticks, disk, peers. Executes its effects in order and decides nothing.
 *
 * - `persist` is on disk (fsync) before `persisted` is put in; a disk that refuses is tried again, and meanwhile nothing that
 *   depends on the record happens, because the core waits.
 * - Effects of an input that arrives while effects run are queued behind them.
 */
import { join } from "node:path";
import { z } from "zod";
import type { Clock } from "../../core/clock.js";
import { Timers, sleep } from "../../core/clock.js";
import { readDurable, writeDurable } from "../../core/durable-file.js";
import { nodeId } from "../../core/ids.js";
import { conditionEntries } from "../../checks/conditions.js";
import { toMinidError } from "../../core/errors.js";
import type { Log } from "../../core/log.js";
import type { ClusterEffect, ClusterInput, ClusterMachine, ClusterView, DurableRecord } from "./contract.js";
import type { PeerLinks } from "./links.js";
import type { ConditionStatus } from "../status.js";

const PERSIST_RETRY_MS = 1_000;

const node = z.string().regex(/^[0-9a-f]*$/u).transform(nodeId);
const recordSchema: z.ZodType<DurableRecord> = z.object({
  incarnation: z.int().min(0),
  epoch: z.object({ counter: z.int().min(0), nodeId: node }),
  planVersion: z.int().min(0),
  forgotten: z.array(node),
  peers: z.array(z.object({ nodeId: node, deviceId: z.string(), addresses: z.array(z.string()) })),
});

const recordFile = (home: string): string => join(home, "cluster-state.json");

/** @throws MinidError home_unusable when the file is damaged. */
export function readClusterRecord(home: string): Promise<DurableRecord | undefined> {
  return readDurable(recordFile(home), recordSchema);
}

/** Effects that are not the driver's own business: send and persist are. */
export type OuterEffect = Exclude<ClusterEffect, { kind: "send" } | { kind: "persist" }>;

export interface ClusterDriverDeps {
  readonly core: ClusterMachine;
  readonly clock: Clock;
  readonly links: PeerLinks;
  readonly home: string;
  readonly tickIntervalMs: number;
  readonly log: Log;
  readonly onEffect: (effect: OuterEffect) => void;
  /** Whoever shows or routes by the view should look again. What a message brings without an event can wait for the next tick. */
  readonly onChange: () => void;
}

export class ClusterDriver {
  readonly #deps: ClusterDriverDeps;
  readonly #timers: Timers;
  readonly #inputs: ClusterInput[] = [];
  #running = false;
  #pending: { ids: number[]; record: DurableRecord } | undefined;
  #writing: Promise<void> | undefined;
  #stopped = false;
  /** Why the latest record is not on the disk; empty: it is. */
  #unwritten = "";

  constructor(deps: ClusterDriverDeps) {
    this.#deps = deps;
    this.#timers = new Timers((name, error) => deps.log.error({ timer: name, error: String(error) }, "a timer failed"));
  }

  start(): void {
    this.#timers.every("cluster tick", this.#deps.tickIntervalMs, () => this.input({ kind: "tick", wallMs: this.#deps.clock.wallMs() }));
    this.input({ kind: "tick", wallMs: this.#deps.clock.wallMs() });
  }

  input(input: ClusterInput): void {
    this.#inputs.push(input);
    if (this.#running || this.#stopped) return;
    this.#running = true;
    let changed = false;
    try {
      for (let next = this.#inputs.shift(); next; next = this.#inputs.shift()) {
        changed ||= next.kind !== "message";
        for (const effect of this.#deps.core.step(next, this.#deps.clock.now())) {
          changed ||= effect.kind !== "send" && effect.kind !== "persist";
          this.#execute(effect);
        }
      }
    } finally {
      this.#running = false;
    }
    if (changed) this.#deps.onChange();
  }

  /** What the core cannot know. */
  conditions(): readonly ConditionStatus[] {
    const { remedy } = conditionEntries.home_not_written;
    return this.#unwritten === "" ? [] : [{ code: "home_not_written", severity: "error", message: this.#unwritten, remedy }];
  }

  view(): ClusterView { return this.#deps.core.view(this.#deps.clock.now()); }

  /** Says goodbye and waits for the last record. */
  async stop(): Promise<void> {
    this.#timers.stop();
    this.input({ kind: "leave" });
    this.#stopped = true;
    await this.#writing;
  }

  #execute(effect: ClusterEffect): void {
    switch (effect.kind) {
      case "send": this.#deps.links.send(effect.to, effect.message); return;
      case "persist": this.#persist(effect.id, effect.record); return;
      default: this.#deps.onEffect(effect);
    }
  }

  /** A newer record contains the older: only the newest waiting one is written, and its arrival confirms them all. */
  #persist(id: number, record: DurableRecord): void {
    this.#pending = { ids: [...(this.#pending?.ids ?? []), id], record };
    this.#writing ??= this.#write().finally(() => { this.#writing = undefined; });
  }

  #tell(unwritten: string): void {
    if (unwritten === this.#unwritten) return;
    this.#unwritten = unwritten;
    this.#deps.onChange();
  }

  async #write(): Promise<void> {
    while (this.#pending) {
      const { ids, record } = this.#pending;
      this.#pending = undefined;
      try {
        await writeDurable(recordFile(this.#deps.home), record);
      } catch (error) {
        this.#tell(toMinidError(error).message);
        this.#deps.log.error({ error: String(error) }, "the cluster record could not be written; nothing is announced until it is");
        const newer = this.#pending as { ids: number[]; record: DurableRecord } | undefined;
        this.#pending = { ids: [...ids, ...(newer?.ids ?? [])], record: newer?.record ?? record };
        if (this.#stopped) return;
        await sleep(PERSIST_RETRY_MS);
        continue;
      }
      this.#tell("");
      for (const confirmed of ids) this.input({ kind: "persisted", id: confirmed });
    }
  }
}

