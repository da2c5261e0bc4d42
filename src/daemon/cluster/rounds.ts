/** What a tick brings: lateness, silence, questions to those who are silent, calls to those who were only introduced. */
import type { NodeId } from "../../core/ids.js";
import { isLive } from "../membership/member.js";
import { LOAD_FAILING_MS } from "./planning.js";
import type { ClusterState } from "./state.js";

/** Others asked to reach a member that we do not hear. */
const HELPERS_MAX = 3;
/** Introductions for the next start are written at most this often. */
const PEERS_GAP_MS = 5_000;
/** A node that was only heard of is dropped after this long without a word. */
const INTRODUCED_FORGET_MS = 60_000;

export class Rounds {
  readonly #state: ClusterState;
  #peersAt = -Infinity;
  #peersKey = "";
  #failingSince: number | undefined;

  constructor(state: ClusterState) { this.#state = state; }

  /** @returns true when the machine slept: then no office is kept. */
  tick(now: number, wallMs: number): boolean {
    const state = this.#state;
    const { membership, config, doubt, facts, election } = state;
    state.wallOffsetMs = wallMs - now;
    state.newTick();
    const { slipMs, slept, clockJumpMs } = doubt.tick(now, wallMs);
    if (clockJumpMs !== 0) state.event({ kind: "clock_jumped", byMs: Math.round(clockJumpMs) });
    if (slept) state.event({ kind: "slept", forMs: Math.round(slipMs) });
    if (slept || clockJumpMs > config.sleepAfterMs) membership.reset(now);
    else if (slipMs > config.tickIntervalMs) membership.forgive(slipMs, now);
    membership.tick(now, doubt.level);
    state.ownFactsChanged(facts.links(state.members, now, config.deadAfterMs, config.suspectAfterMs));
    state.stir();
    if (election.leads) this.#stepAside(now);
    if (!state.mute) this.#inquire(now);
    this.dial(now);
    this.#rememberPeers(now);
    for (const member of state.members.filter((each) => each.state === "introduced" && now - Math.max(each.since, each.evidenceAt) > INTRODUCED_FORGET_MS)) state.drop(member.id);
    return slept;
  }

  /** Long enough without proof of life, or without a direct word: ask now, directly and through others. */
  #inquire(now: number): void {
    const { members, config, outbox, selfId, effects } = this.#state;
    const askAfterMs = 3 * config.heartbeatIntervalMs;
    for (const member of members) {
      if (!isLive(member)) continue;
      const unsure = now - member.sureAt > askAfterMs;
      if (!unsure && now - member.directAt <= askAfterMs) continue;
      outbox.send(member, { type: "probe", ...outbox.envelope(now), origin: selfId }, effects);
      if (!unsure) continue;
      let helpers = 0;
      for (const helper of members) {
        if (helper === member || helper.state !== "alive" || now - helper.directAt > askAfterMs || helpers === HELPERS_MAX) continue;
        helpers += 1;
        outbox.send(helper, { type: "probe-request", ...outbox.envelope(now), target: member.id }, effects);
      }
    }
  }

  /** Calls on introduced addresses whose turn it is. */
  dial(now: number): void {
    const state = this.#state;
    if (state.mute) return;
    const { outbox, membership, durable } = state;
    const own = state.facts.current;
    const reached = (nodeId: NodeId | undefined, address: string) => {
      if (own.addresses.some((host) => address === `${host}:${own.agentPort}`)) return true;
      if (nodeId !== undefined) return durable.record.forgotten.includes(nodeId) || membership.find(nodeId)?.state === "alive";
      return state.members.some((member) => member.state === "alive" && outbox.destination(member).addresses.includes(address));
    };
    for (const { address, nodeId } of state.book.due(reached, now)) {
      const message = { ...outbox.heartbeat(state.members, state.standing(now), now), facts: own };
      state.effects.push({ kind: "send", to: { ...(nodeId === undefined ? {} : { nodeId }), addresses: [address] }, message });
    }
  }

  /** Rank 0 cannot be planned around: if it cannot load its own stage, another must lead. */
  #stepAside(now: number): void {
    const { facts } = this.#state;
    if (facts.current.worker.phase !== "failed") { this.#failingSince = undefined; return; }
    this.#failingSince ??= now;
    if (now - this.#failingSince >= LOAD_FAILING_MS) this.#state.ownFactsChanged(facts.aside(true));
  }

  #rememberPeers(now: number): void {
    if (now - this.#peersAt < PEERS_GAP_MS) return;
    const { members, outbox, durable } = this.#state;
    const peers = members.flatMap((member) => {
      const { addresses } = outbox.destination(member);
      return member.facts && addresses.length > 0 ? [{ nodeId: member.id, deviceId: member.facts.deviceId, addresses }] : [];
    });
    // Nobody met yet says nothing about whom we knew.
    if (peers.length === 0) return;
    this.#peersAt = now;
    const key = JSON.stringify(peers);
    if (key === this.#peersKey) return;
    this.#peersKey = key;
    durable.peers([...peers, ...durable.record.peers.filter((old) => !peers.some((peer) => peer.nodeId === old.nodeId))]);
  }
}
