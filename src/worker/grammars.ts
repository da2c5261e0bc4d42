/**
 * The grammars of the answers that this stage samples. The tokenizer is opened when the first answer asks for a grammar, and
 * compiled grammars are kept while they are in use and a little longer, since the same schema comes again and again.
 *
 * The front door has compiled every grammar before it sends it. One that does not compile here all the same ends its own answer
 * at once, and does not fail the step that others share.
 */
import type { CacheOp } from "../core/worker-protocol.js";
import { type Expr, choice } from "../model/grammar/expr.js";
import { type Grammar, grammarExpr, parseGrammar } from "../model/grammar/grammar.js";
import { CompiledGrammar, GrammarMatcher } from "../model/grammar/matcher.js";
import { TokenList } from "../model/grammar/token-list.js";
import { type Tokenizer, openTokenizer } from "../model/tokenizer.js";

const keptMax = 32;

export class Grammars {
  readonly #modelDir: string;
  readonly #logitCount: number;
  readonly #kept = new Map<string, CompiledGrammar>();
  readonly #lists = new Map<string, TokenList>();
  #tokenizer: Tokenizer | undefined;

  /** @param logitCount the model's vocabulary, padding included. */
  constructor(modelDir: string, logitCount: number) {
    this.#modelDir = modelDir;
    this.#logitCount = logitCount;
  }

  /** To be awaited before a step with these operations. @throws MinidError when the tokenizer cannot be opened. */
  async prepare(ops: readonly CacheOp[]): Promise<void> {
    if (this.#tokenizer || !ops.some((op) => op.op === "open" && hasGrammar(op.open.sampling?.grammar))) return;
    this.#tokenizer = await openTokenizer(this.#modelDir);
  }

  /** @param text as it came with the sampling parameters. @returns undefined for none. */
  matcher(text: string | undefined): GrammarMatcher | undefined {
    if (!hasGrammar(text) || !this.#tokenizer) return undefined;
    const compiled = this.#kept.get(text) ?? this.#compile(text, this.#tokenizer);
    this.#kept.delete(text);
    this.#kept.set(text, compiled);
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= keptMax) break;
      this.#kept.delete(oldest);
    }
    return new GrammarMatcher(compiled);
  }

  #compile(text: string, tokenizer: Tokenizer): CompiledGrammar {
    let grammar: Pick<Grammar, "stopTokens" | "specialTokens"> = { stopTokens: [] };
    let root: Expr = choice();
    try {
      const parsed = parseGrammar(text);
      grammar = parsed;
      root = grammarExpr(parsed.root);
    } catch {
      // Nothing can follow: see above.
    }
    const special = grammar.specialTokens ?? [];
    const key = special.join(",");
    const tokens = this.#lists.get(key) ?? new TokenList(tokenizer, new Set(special));
    this.#lists.set(key, tokens);
    return new CompiledGrammar(root, tokenizer, tokens, grammar.stopTokens, this.#logitCount);
  }
}

const hasGrammar = (text: string | undefined): text is string => text !== undefined && text !== "";
