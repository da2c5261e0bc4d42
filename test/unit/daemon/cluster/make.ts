/** Facts, cores and messages for unit tests, with defaults that do not matter to the test at hand. */
import { epochZero, millis, nodeId } from "../../../../src/core/ids.js";
import { ClusterCore } from "../../../../src/daemon/cluster/cluster.js";
import { type ClusterEffect, type ClusterInit, type ClusterInput, clusterDefaults } from "../../../../src/daemon/cluster/contract.js";
import { type ClusterMessage, PROTOCOL } from "../../../../src/daemon/cluster/messages.js";
import type { LocalFacts, NodeFacts, WorkerFacts } from "../../../../src/daemon/membership/facts.js";
import { type ModelShape, plannerDefaults } from "../../../../src/daemon/planner/plan.js";

export const worker = (change: Partial<WorkerFacts> = {}): WorkerFacts => ({ incarnation: "w", phase: "empty", acceptedEpoch: epochZero, healthy: true, crashLooping: false, error: "", ...change });

export const localFacts = (deviceId: string, change: Partial<LocalFacts> = {}): LocalFacts => ({
  deviceId, hostname: `${deviceId}.local`, addresses: [deviceId], agentPort: 50050, workerPort: 50051, httpPort: 8100, software: "1", platform: "test", engine: "test",
  cores: 8, memoryBytes: 16e9, budgetBytes: 8e9, worker: worker(), ...change,
});

export const facts = (deviceId: string, change: Partial<NodeFacts> = {}): NodeFacts => ({ ...localFacts(deviceId), version: 1, protocol: PROTOCOL, draining: false, aside: false, unheard: [], ...change });

export const model: ModelShape = { modelId: "model", layerCount: 12, layerBytes: 1e8, embedBytes: 2e8, headBytes: 2e8, tied: true, kvBytesPerTokenLayer: 1_000, contextMax: 2_048 };

export const id = (letter: string) => nodeId(letter.repeat(32));

/** A core under a driver that writes at once and remembers what was sent. */
export class TestNode {
  readonly core: ClusterCore;
  readonly effects: ClusterEffect[] = [];
  now = 1_000;
  wallMs = 1_700_000_000_000;

  constructor(change: Partial<ClusterInit> = {}) {
    this.core = new ClusterCore({
      identity: { nodeId: id("a"), clusterId: "cluster", clusterName: "home", protocol: PROTOCOL }, config: { ...clusterDefaults, planner: plannerDefaults },
      facts: localFacts("mini1"), model, durable: undefined, counterFloor: 0, now: millis(this.now), wallMs: this.wallMs, ...change,
    });
    this.put({ kind: "tick", wallMs: this.wallMs });
  }

  put(input: ClusterInput): void {
    const effects = this.core.step(input, millis(this.now));
    this.effects.push(...effects);
    for (const effect of effects) if (effect.kind === "persist") this.put({ kind: "persisted", id: effect.id });
  }

  /** Ticks as a driver would. */
  pass(ms: number): void {
    for (const end = this.now + ms; this.now < end;) {
      this.now += clusterDefaults.tickIntervalMs;
      this.wallMs += clusterDefaults.tickIntervalMs;
      this.put({ kind: "tick", wallMs: this.wallMs });
    }
  }

  view() { return this.core.view(millis(this.now)); }
  get sent(): readonly ClusterMessage[] { return this.effects.flatMap((effect) => (effect.kind === "send" ? [effect.message] : [])); }
  codes(): readonly string[] { return this.view().conditions.map((condition) => condition.code); }
}
