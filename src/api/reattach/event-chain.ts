/**
 * The ids of a stream's events: how many there were, when the answer was begun, and a hash over all of them up to this one. Whoever
 * makes the same answer again passes over the events that the client has, and the hash proves that they were the same: an answer is
 * continued exactly or not at all.
 *
 *   id: 17.t4k2bm.9f86d081884c7d65
 */
import { createHash } from "node:crypto";
import { MinidError } from "../../core/errors.js";

export interface EventId {
  /** 1 for the first event. */
  readonly number: number;
  /** Unix seconds: of the answer, and the only thing about it that its request and key do not decide. */
  readonly created: number;
  /** 16 hex digits. */
  readonly hash: string;
}

const pattern = /^(\d{1,9})\.([0-9a-z]{1,8})\.([0-9a-f]{16})$/u;

export const eventIdText = ({ number, created, hash }: EventId): string => `${number}.${created.toString(36)}.${hash}`;

/** @param header the request's `Last-Event-ID`; empty counts as absent. @throws MinidError invalid_value */
export function parseEventId(header: string | readonly string[] | undefined): EventId | undefined {
  if (header === undefined || header === "") return undefined;
  const [, number, created, hash] = (typeof header === "string" ? pattern.exec(header) : null) ?? [];
  if (number === undefined || created === undefined || hash === undefined) {
    throw new MinidError("invalid_value", "Invalid value for the header 'Last-Event-ID': send the id of the last event that arrived whole, as it was.", { param: "Last-Event-ID" });
  }
  return { number: Number(number), created: Number.parseInt(created, 36), hash };
}

export class EventChain {
  readonly #created: number;
  readonly #last: EventId | undefined;
  #number = 0;
  #hash: string;

  /**
   * @param answerId what the answer is called.
   * @param last of the events that the client has.
   */
  constructor(answerId: string, created: number, last: EventId | undefined) {
    this.#created = created;
    this.#last = last;
    this.#hash = hashOf("", answerId);
  }

  /**
   * The next event.
   * @returns its id, or undefined when the client has it.
   * @throws MinidError answer_diverged when the client has another one in its place.
   */
  next(data: string): string | undefined {
    this.#number += 1;
    this.#hash = hashOf(this.#hash, data);
    if (this.#last === undefined || this.#number > this.#last.number) return eventIdText({ number: this.#number, created: this.#created, hash: this.#hash });
    if (this.#number === this.#last.number && this.#hash !== this.#last.hash) throw diverged();
    return undefined;
  }

  /** After the last event. @throws MinidError answer_diverged when the client has more. */
  end(): void {
    if (this.#last !== undefined && this.#number < this.#last.number) throw diverged();
  }
}

const hashOf = (before: string, data: string): string => createHash("sha256").update(before).update("\n").update(data).digest("hex").slice(0, 16);

const diverged = (): MinidError => new MinidError("answer_diverged", "The answer cannot be continued at this Last-Event-ID: what comes before it is not what the cluster computes now (another model, version or kind of machine). Ask again with a new Idempotency-Key.", { param: "Last-Event-ID" });
