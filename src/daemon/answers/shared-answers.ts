/**
 * Answers that can be asked for again at any node (docs/adr/0020-reattachable-answers.md): who works on one now, and what is known of it.
 *
 * Before a node works on an answer it claims it: it tells every member that it can reach, and whoever worked on it stops before it
 * replies. So one node works on an answer at a time, as far as members hear of each other; the leader refuses a lower claim than the
 * one under way as well (local-generator.ts). Before the first byte of an answer leaves, another member holds its record, if one can
 * be reached; later tokens follow in batches, unwaited for.
 */
import type { Clock } from "../../core/clock.js";
import { MinidError } from "../../core/errors.js";
import { type NodeId, epochZero, nodeId } from "../../core/ids.js";
import { invariant } from "../../core/invariant.js";
import type { Generator } from "../inference/generate.js";
import { AnswerLedger, defaultLedgerLimits, type ClaimAsked, type ClaimVerdict, type LedgerLimits } from "./ledger.js";
import type { AnswerPeers } from "./peers.js";
import { type AnswerHead, type AnswerRecord, type AnswerUpdate, type Claim, isAbove, takeParts } from "./record.js";
import { ReplayingGenerator } from "./replaying-generator.js";
import { Replication } from "./replication.js";
import type { Receipt, Verdict } from "./wire.js";

/** How long members may take to answer a claim: one that died a moment ago must not hold an answer up for long. */
const claimWaitMs = 1_000;
/** Claims for one request, each above the last one heard of, before it gives way to whoever else is claiming. */
const claimsMax = 5;

export interface Question {
  /** Hex SHA-256 of whose the key is and of the key. */
  readonly key: string;
  /** Hex SHA-256 of what is asked. */
  readonly digest: string;
}

/** One connection's right to an answer. */
export interface Turn {
  /** What the answer said of itself when it was begun before. */
  readonly known: AnswerHead | undefined;
  /** Aborted, with a MinidError, when another connection takes the answer over. */
  readonly signal: AbortSignal;
  /** Says what the answer says of itself, and has it kept elsewhere. Once, before generating. */
  begin(head: AnswerHead): void;
  /** The way to the answer's tokens: the known ones, then new ones. */
  generator(inner: Generator): Generator;
  /** The connection is over. Idempotent. */
  end(): void;
}

interface Running { readonly record: AnswerRecord; readonly controller: AbortController; kept: Promise<void> | undefined }

export class SharedAnswers {
  readonly #self: NodeId;
  readonly #clock: Clock;
  readonly #peers: AnswerPeers;
  readonly #ledger: AnswerLedger;
  readonly #replication: Replication;
  readonly #running = new Map<string, Running>();

  constructor(options: { readonly self: NodeId; readonly clock: Clock; readonly peers: AnswerPeers; readonly limits: LedgerLimits }) {
    this.#self = options.self;
    this.#clock = options.clock;
    this.#peers = options.peers;
    this.#ledger = new AnswerLedger(options.limits);
    this.#replication = new Replication({
      peers: options.peers,
      onBehind: (key) => this.#supersede(key),
      onSettled: (key) => { if (!this.#running.has(key)) this.#ledger.hold(key, false, this.#clock.now()); },
    });
  }

  /** @throws MinidError idempotency_key_reused | superseded */
  async claim({ key, digest }: Question): Promise<Turn> {
    const before = this.#ledger.find(key, this.#clock.now());
    let counter = (before?.claim.counter ?? 0) + 1;
    for (let attempt = 0; attempt < claimsMax; attempt += 1) {
      const asked: ClaimAsked = { key, digest, claim: { counter, nodeId: this.#self } };
      const own = this.#ledger.claim(asked, this.#clock.now());
      if (own.kind === "reused") throw reused();
      if (own.kind === "behind") { counter = own.highest.counter + 1; continue; }
      this.#supersede(key);
      const verdicts = await this.#ask(asked);
      if (verdicts.some(({ kind }) => kind === "reused")) {
        if (own.record.head === undefined) this.#ledger.forget(key);
        throw reused();
      }
      // Another connection claims at the same time, and its claim is above ours: one of the two gives way.
      if (own.record.claim !== asked.claim) throw superseded();
      const highest = verdicts.flatMap((verdict) => (verdict.kind === "behind" ? [verdict.highest.counter] : []));
      if (highest.length === 0) return this.#turn(merged(own.record, own.before, verdicts), asked.claim);
      counter = Math.max(...highest) + 1;
    }
    throw superseded();
  }

  /** Another member claims: whoever works on the answer here stops. */
  claimedElsewhere(asked: ClaimAsked): ClaimVerdict {
    const verdict = this.#ledger.claim(asked, this.#clock.now());
    if (verdict.kind === "granted") this.#supersede(asked.key);
    return verdict;
  }

  /** Another member hands over what it knows of its answers. */
  keptFor(updates: readonly AnswerUpdate[]): Receipt {
    const behind: string[] = [];
    const gaps: string[] = [];
    for (const update of updates) {
      const running = this.#running.get(update.key);
      if (running && isAbove(update.claim, running.record.claim)) this.#supersede(update.key);
      const outcome = this.#ledger.keep(update, this.#clock.now());
      if (outcome !== "kept") (outcome === "behind" ? behind : gaps).push(update.key);
    }
    return { behind, gaps };
  }

  stop(): void { this.#replication.stop(); }

  /** Who does not answer in time is not waited for: it may be dead, and then it does not work on the answer either. */
  async #ask(asked: ClaimAsked): Promise<Verdict[]> {
    const verdicts = await Promise.all(this.#peers.list().map((node) => this.#peers.claim(node, asked, claimWaitMs).catch(() => undefined)));
    return verdicts.filter((verdict) => verdict !== undefined);
  }

  #turn(record: AnswerRecord, claim: Claim): Turn {
    const { key } = record;
    const running: Running = { record, controller: new AbortController(), kept: undefined };
    this.#running.set(key, running);
    this.#ledger.hold(key, true, this.#clock.now());
    return {
      known: record.head,
      signal: running.controller.signal,
      begin: (head) => {
        record.head = head;
        running.kept = this.#replication.begin(record);
      },
      generator: (inner) => {
        invariant(running.kept, "an answer was generated before it was begun");
        return new ReplayingGenerator({ record, claim, inner, kept: running.kept });
      },
      end: () => {
        if (this.#running.get(key) !== running) return;
        this.#running.delete(key);
        // Held until its last tokens have arrived elsewhere; one that was never begun is as good as never asked.
        if (record.head === undefined) this.#ledger.forget(key);
        else this.#replication.end(key);
      },
    };
  }

  #supersede(key: string): void {
    const running = this.#running.get(key);
    this.#replication.drop(key);
    this.#ledger.hold(key, false, this.#clock.now());
    if (!running) return;
    this.#running.delete(key);
    running.controller.abort(superseded());
  }
}

/** Of a process without a cluster. */
export function ownAnswers(clock: Clock): SharedAnswers {
  const none = () => Promise.reject(new MinidError("not_ready", "this process has no cluster"));
  return new SharedAnswers({ self: nodeId("alone"), clock, peers: { list: () => [], claim: none, keep: none }, limits: defaultLedgerLimits });
}

/** What the members know between them: the head under the highest claim, and the longest logs. @param before the claim under which this node knew it */
function merged(record: AnswerRecord, before: Claim | undefined, verdicts: readonly Verdict[]): AnswerRecord {
  let highest = record.head && before ? before : epochZero;
  for (const verdict of verdicts) {
    if (verdict.kind !== "granted" || !verdict.head) continue;
    if (isAbove(verdict.before, highest)) {
      record.head = verdict.head;
      highest = verdict.before;
    }
    takeParts(record, verdict.logs);
  }
  return record;
}

const superseded = (): MinidError => new MinidError("superseded", "Another connection took this answer over: one at a time gets an answer with an Idempotency-Key.");
const reused = (): MinidError => new MinidError("idempotency_key_reused", "This Idempotency-Key belongs to another request: send the same body to the same address as before, or choose a new key.", { param: "Idempotency-Key" });
