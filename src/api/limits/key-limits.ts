/**
 * The limits of the API keys that call this node. Each node counts for itself: a key that is used on three nodes has three allowances.
 * Callers without a key (on this machine) have none. A request is refused before it is queued, with 429 and the time after which it will be let in.
 */
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Clock } from "../../core/clock.js";
import { MinidError } from "../../core/errors.js";
import { type KeyLimits, keysMax } from "../../core/trust/records.js";
import { Budget, type Refused } from "./budget.js";

/** What one request has to do with its key's limits. */
export interface Allowance {
  /** @throws MinidError rate_limit_exceeded */
  prompt(tokens: number): void;
  spend(tokens: number): void;
  /** Once, whatever became of the request. */
  leave(): void;
}

const unlimited: Allowance = { prompt() {}, spend() {}, leave() {} };

export class KeyLimiter {
  readonly #defaults: KeyLimits;
  readonly #clock: Clock;
  readonly #budgets = new Map<string, Budget>();

  /** @param defaults for keys that have none of their own. */
  constructor(defaults: KeyLimits, clock: Clock) {
    this.#defaults = defaults;
    this.#clock = clock;
  }

  /** @throws MinidError rate_limit_exceeded, with the headers on the reply as they are on a request that is let in. */
  enter(request: FastifyRequest, reply: FastifyReply): Allowance {
    const { caller } = request;
    if (caller.kind !== "key") return unlimited;
    const limits = { ...this.#defaults, ...caller.key.limits };
    if (Object.values(limits).every((limit) => limit === undefined)) return unlimited;
    const clock = this.#clock;
    const { name, keyId } = caller.key;
    const budget = this.#budgetOf(keyId, limits);
    const refuse = (refused: Refused | undefined): void => {
      reply.headers(budget.headers(clock.now()));
      if (refused) throw refusal(name, refused);
    };
    refuse(budget.enter(clock.now()));
    const startedMs = clock.now();
    return {
      prompt: (tokens) => { refuse(budget.prompt(tokens, clock.now())); },
      spend: (tokens) => { budget.spend(tokens, clock.now()); },
      leave: () => { budget.leave((clock.now() - startedMs) / 1_000); },
    };
  }

  #budgetOf(keyId: string, limits: KeyLimits): Budget {
    const budget = this.#budgets.get(keyId) ?? new Budget(limits);
    // The one used longest ago makes room. There are not more keys than that, so it is one that ended.
    this.#budgets.delete(keyId);
    this.#budgets.set(keyId, budget);
    if (this.#budgets.size > keysMax) for (const [oldest, { inFlight }] of this.#budgets) if (inFlight === 0) { this.#budgets.delete(oldest); break; }
    return budget;
  }
}

function refusal(name: string, { limit, max, retryAfterSeconds }: Refused): MinidError {
  const what = { concurrent_requests: "requests at once", requests_per_minute: "requests a minute", tokens_per_minute: "tokens a minute" }[limit];
  return new MinidError("rate_limit_exceeded", `The API key ${JSON.stringify(name)} has reached its limit of ${max} ${what}. Try again in ${retryAfterSeconds} s.`, { retryAfterSeconds });
}
