/** The `SharedAnswers` of several nodes over a network of function calls, whose links can be cut and whose nodes can die. */
import { MinidError } from "../../../../src/core/errors.js";
import { type Millis, type NodeId, millis, nodeId } from "../../../../src/core/ids.js";
import { type LedgerLimits, defaultLedgerLimits } from "../../../../src/daemon/answers/ledger.js";
import { SharedAnswers } from "../../../../src/daemon/answers/shared-answers.js";
import { updateFromWire, updateToWire, verdictFromWire, verdictToWire } from "../../../../src/daemon/answers/wire.js";

/** What proto3 makes of a message: copies, and nothing that is not in it. */
const overTheWire = <T>(message: T): T => JSON.parse(JSON.stringify(message)) as T;

export class AnswersNet {
  readonly ids: readonly NodeId[];
  readonly nodes: SharedAnswers[];
  readonly keeps: { readonly from: NodeId; readonly to: NodeId; readonly tokens: number }[] = [];
  now = 0;
  readonly #limits: LedgerLimits;
  readonly #cut = new Set<string>();
  readonly #dead = new Set<NodeId>();

  constructor(count: number, limits: Partial<LedgerLimits> = {}) {
    this.ids = Array.from({ length: count }, (_, index) => nodeId(String(index + 1).repeat(32)));
    this.#limits = { ...defaultLedgerLimits, ...limits };
    this.nodes = this.ids.map((self) => this.#node(self));
  }

  /** Its process died and is back, without anything it knew. */
  restart(index: number): void {
    this.nodes[index]!.stop();
    this.nodes[index] = this.#node(this.ids[index]!);
  }

  /** Nothing passes between these two until `heal`. */
  cut(a: number, b: number): void { this.#cut.add(link(this.ids[a]!, this.ids[b]!)); }
  heal(): void { this.#cut.clear(); }
  kill(index: number): void {
    this.#dead.add(this.ids[index]!);
    this.nodes[index]!.stop();
  }
  stop(): void { for (const node of this.nodes) node.stop(); }

  #node(self: NodeId): SharedAnswers {
    return new SharedAnswers({
      self, limits: this.#limits,
      clock: { now: (): Millis => millis(this.now), wallMs: () => 0 },
      peers: {
        list: () => this.ids.filter((id) => id !== self && !this.#dead.has(id)),
        claim: async (to, asked) => verdictFromWire(overTheWire(verdictToWire((await this.#reach(self, to)).claimedElsewhere(asked)))),
        keep: async (to, updates) => {
          const node = await this.#reach(self, to);
          this.keeps.push({ from: self, to, tokens: updates.reduce((sum, { logs }) => sum + logs.reduce((all, { tokens }) => all + tokens.length, 0), 0) });
          return node.keptFor(updates.map((update) => updateFromWire(overTheWire(updateToWire(update)))));
        },
      },
    });
  }

  async #reach(from: NodeId, to: NodeId): Promise<SharedAnswers> {
    await Promise.resolve();
    if (this.#cut.has(link(from, to)) || this.#dead.has(from) || this.#dead.has(to)) throw new MinidError("not_ready", `${to} cannot be reached`);
    return this.nodes[this.ids.indexOf(to)]!;
  }
}

const link = (a: NodeId, b: NodeId): string => [a, b].sort().join("-");
