/** This node's facts: what the agent reports, and what the core itself knows. A new version whenever anything in them changes. */
import { isDeepStrictEqual } from "node:util";
import type { NodeId } from "../../core/ids.js";
import type { LocalFacts, NodeFacts, ProtocolRange } from "../membership/facts.js";
import { type Member, isLive } from "../membership/member.js";

export class OwnFacts {
  #facts: NodeFacts;
  #local: LocalFacts;

  constructor(local: LocalFacts, protocol: ProtocolRange) {
    this.#local = local;
    this.#facts = { ...local, version: 0, protocol, draining: false, aside: false, unheard: [] };
  }

  get current(): NodeFacts { return this.#facts; }

  /** @returns true when something changed. */
  report(local: LocalFacts): boolean {
    if (local === this.#local || isDeepStrictEqual(local, this.#local)) return false;
    this.#local = local;
    const { version, protocol, draining, aside, unheard, planless } = this.#facts;
    this.#facts = { ...local, version: version + 1, protocol, draining, aside, unheard, ...(planless === undefined ? {} : { planless }) };
    return true;
  }

  drain(draining: boolean): boolean { return draining !== this.#facts.draining && this.#change({ draining }); }

  aside(aside: boolean): boolean { return aside !== this.#facts.aside && this.#change({ aside }); }

  /** @param why there is no plan; undefined: there is one, or it is not this node's business. */
  planless(why: string | undefined, upTo = 0): boolean {
    if (why === this.#facts.planless?.why) return false;
    if (why !== undefined) return this.#change({ planless: { why, upTo } });
    const { planless: _, ...rest } = this.#facts;
    this.#facts = { ...rest, version: rest.version + 1 };
    return true;
  }

  /** @returns true when the set of broken links changed. A mended link must hold for `healedMs` before it counts. */
  links(members: readonly Member[], now: number, brokenAfterMs: number, healedMs: number): boolean {
    const before = this.#facts.unheard;
    let unheard: NodeId[] | undefined;
    for (const member of members) {
      if (!isLive(member)) continue;
      const broken = now - member.directAt > brokenAfterMs || (before.length > 0 && before.includes(member.id) && now - member.directSince < healedMs);
      if (broken) (unheard ??= []).push(member.id);
    }
    if ((unheard?.length ?? 0) === before.length && (unheard === undefined || unheard.every((id) => before.includes(id)))) return false;
    return this.#change({ unheard: unheard?.sort() ?? [] });
  }

  #change(change: Partial<NodeFacts>): true {
    this.#facts = { ...this.#facts, ...change, version: this.#facts.version + 1 };
    return true;
  }
}
