/**
 * What an answer is called, when it was begun and which random seed it has. Without an `Idempotency-Key`: fresh. With one: decided by
 * the key and the request, so that any node makes the same answer of them at any time; and it has one connection at a time
 * (docs/adr/0020-reattachable-answers.md).
 */
import { createHash } from "node:crypto";
import type { FastifyReply, FastifyRequest } from "fastify";
import { MinidError } from "../../core/errors.js";
import type { AnswerHead } from "../../daemon/answers/record.js";
import type { Turn } from "../../daemon/answers/shared-answers.js";
import type { RouteContext } from "../deps.js";
import { newId, newSeed } from "../ids.js";
import { principalOf } from "../principal.js";
import { EventChain, type EventId, parseEventId } from "./event-chain.js";

/** Names and a seed for one answer. */
export interface Identity {
  /** For a request that names none. */
  readonly seed: number;
  /** The next one: the same order gives the same ids. */
  readonly newId: (prefix: string) => string;
}

export const freshIdentity = (): Identity => ({ seed: newSeed(), newId });

const keyCharsMax = 255;

/** One request's answer, from its arrival to its end. */
export class AnswerFrame {
  readonly identity: Identity;
  readonly #context: RouteContext;
  readonly #reply: FastifyReply;
  readonly #turn: Turn | undefined;
  readonly #last: EventId | undefined;

  constructor(context: RouteContext, reply: FastifyReply, identity: Identity, turn?: Turn, last?: EventId) {
    this.identity = identity;
    this.#context = context;
    this.#reply = reply;
    this.#turn = turn;
    this.#last = last;
  }

  /** What was kept of an answer that was begun before and refers to something that only its node had. */
  get knownContext(): string | undefined { return this.#turn?.known?.context; }
  get turn(): Turn | undefined { return this.#turn; }

  /**
   * The request is sound, and its answer begins.
   * @param fingerprint of the model served here; an answer that was begun elsewhere keeps its own.
   * @returns what the answer says of itself.
   */
  begin(fingerprint: string, keep?: string): AnswerHead {
    const now = Math.floor(this.#context.clock.wallMs() / 1_000);
    if (!this.#turn) return { created: now, fingerprint };
    const { known } = this.#turn;
    const head: AnswerHead = {
      created: this.#last?.created ?? known?.created ?? now,
      fingerprint: known?.fingerprint ?? fingerprint,
      ...(keep === undefined ? {} : { context: keep }),
    };
    this.#turn.begin(head);
    this.#reply.header("idempotent-replayed", String(known !== undefined || this.#last !== undefined));
    return head;
  }

  /** For a stream's events. @param id of the answer */
  chain(id: string, { created }: AnswerHead): EventChain | undefined {
    return this.#turn && new EventChain(id, created, this.#last);
  }
}

/**
 * Opens the answer to a request, and holds it until the reply is over.
 * @throws MinidError invalid_value | idempotency_key_reused | superseded
 */
export async function openFrame(context: RouteContext, endpoint: string, request: FastifyRequest, reply: FastifyReply): Promise<AnswerFrame> {
  const key = keyOf(request.headers["idempotency-key"]);
  const last = parseEventId(request.headers["last-event-id"]);
  if (key === undefined) {
    if (last) throw new MinidError("invalid_value", "The header 'Last-Event-ID' needs the 'Idempotency-Key' that the answer was asked for with: only such answers can be continued.", { param: "Last-Event-ID" });
    return new AnswerFrame(context, reply, freshIdentity());
  }
  const question = { key: sha256(principalOf(request), key), digest: sha256(endpoint, JSON.stringify(request.body)) };
  const turn = await context.answers.claim(question);
  reply.raw.once("close", () => turn.end());
  if (reply.raw.destroyed) turn.end();
  return new AnswerFrame(context, reply, derivedIdentity(sha256(question.key, question.digest)), turn, last);
}

/** The n-th id is a hash of the secret and n. */
export function derivedIdentity(secret: string): Identity {
  let count = 0;
  return {
    seed: Number.parseInt(sha256(secret, "seed").slice(0, 12), 16),
    newId: (prefix) => `${prefix}${sha256(secret, String(count++)).slice(0, 24)}`,
  };
}

/** Bare, or a string in quotes as draft-ietf-httpapi-idempotency-key-header has it. @throws MinidError invalid_value */
function keyOf(header: string | readonly string[] | undefined): string | undefined {
  if (header === undefined) return undefined;
  const text = typeof header === "string" ? header.replace(/^"(.*)"$/u, "$1") : "";
  if (text !== "" && text.length <= keyCharsMax && /^[\x20-\x7e]+$/u.test(text)) return text;
  throw new MinidError("invalid_value", `Invalid value for the header 'Idempotency-Key': 1 to ${keyCharsMax} printable ASCII characters are needed, a UUID for example.`, { param: "Idempotency-Key" });
}

const sha256 = (...parts: readonly string[]): string => {
  const hash = createHash("sha256");
  // Lengths keep neighbours apart: ("ab", "c") is not ("a", "bc").
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest("hex");
};
