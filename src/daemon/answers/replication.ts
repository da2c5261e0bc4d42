/**
 * Brings the answers that this node works on to other members: the record before the first byte, tokens later in batches. Only what
 * a member does not have yet is sent; a call that fails, or a member that has lost them, starts it again from the first token.
 */
import { createHash } from "node:crypto";
import type { NodeId } from "../../core/ids.js";
import { invariant } from "../../core/invariant.js";
import type { AnswerPeers } from "./peers.js";
import { type AnswerRecord, type AnswerUpdate, type Claim, partsOf } from "./record.js";

/** Members that keep an answer besides the one that works on it. */
const copies = 2;
/** Tokens of that time travel together. Those under way when a node dies are computed again. */
const flushIntervalMs = 100;
const keepTimeoutMs = 1_000;
/** After the end of an answer: attempts to bring its last tokens elsewhere. */
const farewellsMax = 5;

interface Shared {
  readonly record: AnswerRecord;
  /** This node's, not one that has been granted since. */
  readonly claim: Claim;
  /** What each member has: tokens by sequence. A member that is not here has nothing. */
  readonly held: Map<NodeId, Map<string, number>>;
  ended: boolean;
  farewells: number;
}

export interface ReplicationOptions {
  readonly peers: AnswerPeers;
  /** A member knows a higher claim. */
  readonly onBehind: (key: string) => void;
  /** An answer that ended is kept elsewhere, as well as can be. */
  readonly onSettled: (key: string) => void;
}

export class Replication {
  readonly #options: ReplicationOptions;
  readonly #shared = new Map<string, Shared>();
  readonly #calling = new Set<NodeId>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ReplicationOptions) { this.#options = options; }

  /** @returns resolves when another member has the record, or when none can be reached. Never rejects. */
  async begin(record: AnswerRecord): Promise<void> {
    const shared: Shared = { record, claim: record.claim, held: new Map(), ended: false, farewells: 0 };
    this.#shared.set(record.key, shared);
    this.#timer ??= setInterval(() => this.#flush(), flushIntervalMs);
    const calls = this.#keepers(record.key).map(async (node) => { if (!await this.#send(node, [shared])) throw new Error("not kept"); });
    await Promise.any(calls).catch(() => undefined);
  }

  /** The connection is over: what is still missing elsewhere is sent, then the answer is let go. */
  end(key: string): void {
    const shared = this.#shared.get(key);
    if (shared) shared.ended = true;
  }

  drop(key: string): void {
    this.#shared.delete(key);
    if (this.#shared.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  stop(): void { for (const key of this.#shared.keys()) this.drop(key); }

  #flush(): void {
    const due = new Map<NodeId, Shared[]>();
    for (const [key, shared] of this.#shared) {
      const keepers = this.#keepers(key);
      const lacking = keepers.filter((node) => this.#lacks(node, shared));
      if (shared.ended) {
        shared.farewells += 1;
        if (lacking.length === 0 || shared.farewells > farewellsMax) {
          this.drop(key);
          this.#options.onSettled(key);
          continue;
        }
      }
      for (const node of lacking) {
        if (this.#calling.has(node)) continue;
        const list = due.get(node);
        if (list) list.push(shared);
        else due.set(node, [shared]);
      }
    }
    for (const [node, list] of due) {
      this.#calling.add(node);
      void this.#send(node, list).finally(() => this.#calling.delete(node));
    }
  }

  #lacks(node: NodeId, { record, held }: Shared): boolean {
    const has = held.get(node);
    // The end of a sequence counts as one more token.
    return has === undefined || [...record.logs].some(([id, log]) => (has.get(id) ?? 0) < sizeOf(log));
  }

  /** @returns whether the member has them now. Never rejects. */
  async #send(node: NodeId, list: readonly Shared[]): Promise<boolean> {
    const sent = list.map((shared) => ({ shared, update: updateOf(shared, node), has: new Map([...shared.record.logs].map(([id, log]) => [id, sizeOf(log)])) }));
    try {
      const { behind, gaps } = await this.#options.peers.keep(node, sent.map(({ update }) => update), keepTimeoutMs);
      for (const { shared, update: { key }, has } of sent) {
        if (behind.includes(key)) this.#options.onBehind(key);
        else if (gaps.includes(key)) shared.held.delete(node);
        else shared.held.set(node, has);
      }
      return behind.length === 0 && gaps.length === 0;
    } catch {
      for (const { shared } of sent) shared.held.delete(node);
      return false;
    }
  }

  /** The members that keep an answer, the same ones wherever they are asked for: rendezvous hashing. */
  #keepers(key: string): readonly NodeId[] {
    const score = (node: NodeId) => createHash("sha256").update(key).update(node).digest("hex");
    const nodes = this.#options.peers.list();
    if (nodes.length <= copies) return nodes;
    return nodes.map((node) => ({ node, score: score(node) })).sort((a, b) => (a.score < b.score ? -1 : 1)).slice(0, copies).map(({ node }) => node);
  }
}

const sizeOf = (log: { readonly tokens: readonly unknown[]; readonly finished: unknown }): number => log.tokens.length + (log.finished === undefined ? 0 : 1);

function updateOf({ record, claim, held }: Shared, node: NodeId): AnswerUpdate {
  const has = held.get(node);
  const { key, digest, head } = record;
  invariant(head, "an answer is begun before it is handed over");
  return { key, digest, claim, head, logs: partsOf(record, (id) => has?.get(id) ?? 0) };
}
