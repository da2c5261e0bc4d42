/** Events of the core in one readable line; undefined for those that say nothing new. */
import { epochText, type NodeId } from "../../src/core/ids.js";
import type { ClusterEvent } from "../../src/daemon/cluster/contract.js";
import type { World } from "./world.js";

export function eventText(event: ClusterEvent, world: World): string | undefined {
  const name = (id: NodeId | undefined) => (id === undefined ? "nobody" : world.machines.find((machine) => machine.id === id)?.name ?? id.slice(0, 2));
  switch (event.kind) {
    case "member": return `sees ${name(event.nodeId)} ${event.to}: ${event.cause}`;
    case "member_restarted": return `sees that ${name(event.nodeId)} restarted`;
    case "election_started": return `stands with ${epochText(event.epoch)}: ${event.cause}`;
    case "election_won": return undefined;
    case "leader_changed": return event.epoch ? `follows ${epochText(event.epoch)}: ${event.cause}` : `has no leader: ${event.cause}`;
    case "planned": return `plans ${event.version} for ${event.worldSize}: ${event.why}`;
    case "unplannable": return `cannot plan: ${event.reason}`;
    case "ready": return `ready, plan ${event.version}`;
    case "not_ready": return `not ready: ${event.reasons.join("; ")}`;
    case "slept": return `slept for ${event.forMs} ms`;
    case "clock_jumped": return `notices that the clock jumped by ${event.byMs} ms`;
    case "message_refused": return `refuses ${name(event.from)}: ${event.why}`;
  }
}
