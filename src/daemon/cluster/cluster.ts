/**
 * The cluster as one node sees it: membership, election and planning put together behind `step(input, now) → effects`. No clock, no
 * timer, no network, no disk, no randomness: a driver executes the effects and decides nothing, so that all of it runs in the simulation.
 *
 * Invariants:
 *  - Nothing is sent before this life's incarnation is on disk, and no term is claimed before its epoch is.
 *  - A plan is in force only under the term in force; a lower epoch's plan is forgotten with its term.
 *  - The same inputs at the same times give the same effects.
 */
import type { Epoch, Millis } from "../../core/ids.js";
import { unreachable } from "../../core/invariant.js";
import type { LeaderChangeCause } from "../election/cause.js";
import type { ElectionAction } from "../election/election.js";
import { isLive } from "../membership/member.js";
import type { ClusterEffect, ClusterInit, ClusterInput, ClusterMachine, ClusterView } from "./contract.js";
import { LocalStage } from "./local-stage.js";
import { Plans } from "./plans.js";
import { missing } from "./readiness.js";
import { Receiver } from "./receive.js";
import { Rounds } from "./rounds.js";
import { type ClusterParts, ClusterState, clusterParts } from "./state.js";
import { buildView } from "./view.js";

export class ClusterCore implements ClusterMachine {
  readonly #state: ClusterState;
  readonly #plans: Plans;
  readonly #receiver: Receiver;
  readonly #rounds: Rounds;
  readonly #stage = new LocalStage();
  /** Waiting for the disk: to speak at all, and to claim a term. */
  #muteUntil: number | undefined;
  #standing: { readonly id: number; readonly epoch: Epoch } | undefined;
  #over = false;

  constructor(init: ClusterInit, parts: ClusterParts = clusterParts) {
    this.#state = new ClusterState(init, parts);
    this.#plans = new Plans(this.#state);
    this.#receiver = new Receiver(this.#state, this.#plans, (now) => this.#elect(now));
    this.#rounds = new Rounds(this.#state);
  }

  step(input: ClusterInput, now: Millis): readonly ClusterEffect[] {
    const effects: ClusterEffect[] = [];
    if (this.#over) return effects;
    this.#state.effects = effects;
    this.#take(input, now);
    if (!this.#over) this.#settle(now);
    return effects;
  }

  view(now: Millis): ClusterView {
    const { identity, outbox, config, facts, members, election, plan, factsOf, doubt, foreigners } = this.#state;
    const { term, standing } = election;
    return buildView({
      identity, incarnation: outbox.incarnation, config, facts: facts.current, members, destination: (member) => outbox.destination(member), term, standing, plan,
      planless: term && factsOf(term.nodeId)?.facts?.planless?.why, leaderUnreachable: this.#state.leaderUnreachable(), missing: plan ? missing(plan, factsOf) : [], doubt: doubt.level, foreign: foreigners.seen(now), now,
    });
  }

  #take(input: ClusterInput, now: number): void {
    const state = this.#state;
    switch (input.kind) {
      case "tick":
        if (this.#rounds.tick(now, input.wallMs)) this.#carryOut(state.election.abdicate("slept", now), now);
        return;
      case "message": this.#receiver.receive(input.from, input.message, now); return;
      case "introduction": {
        const { address, nodeId, clusterId, clusterName, source } = input;
        if (nodeId === state.selfId) return;
        if (clusterId === undefined || clusterId === state.identity.clusterId) {
          state.book.introduce(address, nodeId, source === "config", now);
          this.#rounds.dial(now);
        } else if (clusterName === state.identity.clusterName) state.foreigners.note(clusterId, address, now);
        return;
      }
      case "refused": {
        const member = state.membership.find(input.nodeId);
        if (member) state.membership.refused(member, input.byWorkerToo, now);
        return;
      }
      case "persisted": this.#persisted(input.id, now); return;
      case "facts": state.ownFactsChanged(state.facts.report(input.facts)); return;
      case "model": state.model = input.model; state.moved(); return;
      case "drain": state.ownFactsChanged(state.facts.drain(input.draining)); return;
      case "leave": this.#leave(now); return;
      case "forget": state.forget(input.nodeId, now); return;
      default: unreachable(input);
    }
  }

  /** What follows from an input. */
  #settle(now: number): void {
    const state = this.#state;
    for (const event of state.membership.takeEvents()) {
      const { member } = event;
      const who = { nodeId: member.id, deviceId: member.facts?.deviceId ?? "" };
      state.event(event.kind === "restarted" ? { kind: "member_restarted", ...who } : { kind: "member", ...who, from: event.from, to: event.to, cause: member.cause });
      state.moved();
    }
    if (state.stirred) this.#elect(now);
    if (state.changed) {
      state.changed = false;
      this.#plans.heedTakenBack();
      this.#plans.make(now);
      this.#stage.step(state.selfId, state.plan, state.facts.current.worker, state.effects, now);
      this.#plans.watchReadiness(now);
    }
    const written = state.durable.flush(state.effects, now);
    if (state.mute) this.#muteUntil = written;
    else if (state.outbox.beatDue(now)) state.outbox.beat(state.members, state.standing(now), state.effects, now);
  }

  #elect(now: number): void {
    const state = this.#state;
    state.stirred = false;
    if (!state.mute) this.#carryOut(state.election.evaluate(state.electorate(), now), now);
  }

  #persisted(id: number, now: number): void {
    const state = this.#state;
    state.durable.persisted(id);
    if (this.#muteUntil !== undefined && id >= this.#muteUntil) {
      this.#muteUntil = undefined;
      state.mute = false;
      state.stir();
      state.outbox.hurry();
      this.#rounds.dial(now);
    }
    const standing = this.#standing;
    if (!standing || id < standing.id) return;
    this.#standing = undefined;
    this.#carryOut(state.election.persisted(standing.epoch, state.electorate(), now), now);
  }

  #carryOut(actions: readonly ElectionAction[], now: number): void {
    const state = this.#state;
    if (actions.length > 0) state.changed = true;
    for (const action of actions) {
      switch (action.kind) {
        case "stand":
          state.durable.epoch(action.epoch);
          this.#standing = { id: state.durable.flush(state.effects, now), epoch: action.epoch };
          state.event({ kind: "election_started", epoch: action.epoch, cause: action.cause });
          break;
        case "lead":
          state.leaderSince = now;
          state.planning.touch();
          state.effects.push({ kind: "becomeLeader", epoch: action.epoch });
          state.event({ kind: "election_won", epoch: action.epoch, cause: action.cause, tookMs: action.tookMs });
          this.#leaderChanged(action.epoch, action.cause);
          break;
        case "stepDown":
          state.effects.push({ kind: "stepDown", epoch: action.epoch, cause: action.cause });
          break;
        case "follow":
          if (action.epoch) state.durable.epoch(action.epoch);
          state.ownFactsChanged(state.facts.aside(false));
          state.ownFactsChanged(state.facts.planless(undefined));
          this.#leaderChanged(action.epoch, action.cause);
          break;
        default: unreachable(action);
      }
    }
  }

  #leaderChanged(epoch: Epoch | undefined, cause: LeaderChangeCause): void {
    this.#state.outbox.hurry();
    this.#state.event({ kind: "leader_changed", leader: epoch?.nodeId, epoch, cause });
  }

  #leave(now: number): void {
    const { election, members, outbox, effects } = this.#state;
    this.#carryOut(election.abdicate("leaving", now), now);
    for (const member of members) if (isLive(member)) outbox.send(member, { type: "leave", ...outbox.envelope(now) }, effects);
    this.#over = true;
  }
}
