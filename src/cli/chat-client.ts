/** A conversation with a node over its HTTP API: the history, one streamed answer at a time, and errors as ours again. */
import { MinidError } from "../core/errors.js";
import { type NodeClient, errorOf } from "./node-client.js";

export interface ChatOptions {
  readonly node: NodeClient;
  /** Default: the first model that the node serves. */
  readonly model?: string;
  readonly system?: string;
  readonly temperature?: number;
  readonly maxTokens?: number;
}

interface Turn { readonly role: "system" | "user" | "assistant"; readonly content: string }

export class ChatClient {
  readonly #options: ChatOptions;
  readonly #turns: Turn[] = [];
  #system: string | undefined;
  #model: string | undefined;

  constructor(options: ChatOptions) {
    this.#options = options;
    this.#system = options.system;
    this.#model = options.model;
  }

  get system(): string | undefined { return this.#system; }
  set system(text: string | undefined) { this.#system = text; }

  /** The conversation begins anew; the system message stays. */
  forget(): void { this.#turns.length = 0; }

  /** @returns the model's id. @throws MinidError not_running | model_not_found */
  async model(): Promise<string> {
    if (this.#model !== undefined) return this.#model;
    const { node } = this.#options;
    const { data } = await node.json("GET", "/v1/models") as { data: readonly { readonly id: string }[] };
    if (data[0] === undefined) throw new MinidError("model_not_found", `${node.name} serves no model: minid status says why`);
    this.#model = data[0].id;
    return this.#model;
  }

  /**
   * The answer as it comes. What came before the signal stopped it stays in the history, so that one can refer to it;
   * a question that got no answer at all does not. What a model thinks before it answers is no part of either.
   * @param onThought told what it thinks, as it comes
   */
  async* ask(question: string, signal: AbortSignal, onThought: (piece: string) => void = () => undefined): AsyncGenerator<string> {
    const { temperature, maxTokens } = this.#options;
    const history: Turn[] = [...(this.#system === undefined ? [] : [{ role: "system" as const, content: this.#system }]), ...this.#turns, { role: "user", content: question }];
    let answer = "";
    try {
      const events = await this.#options.node.stream("/v1/chat/completions",
        { model: await this.model(), messages: history, stream: true, ...(temperature !== undefined && { temperature }), ...(maxTokens !== undefined && { max_completion_tokens: maxTokens }) }, signal);
      for await (const data of eventData(events)) {
        if (data === "[DONE]") return;
        const { piece, thought } = deltaOf(JSON.parse(data));
        if (thought !== "") onThought(thought);
        answer += piece;
        if (piece !== "") yield piece;
      }
      throw new MinidError("stage_lost", "the connection ended before the answer was complete: ask again");
    } catch (thrown) {
      if (!signal.aborted) throw thrown;
    } finally {
      if (answer !== "") this.#turns.push({ role: "user", content: question }, { role: "assistant", content: answer });
    }
  }
}

/** The data of each event; comments and other fields are passed over. */
async function* eventData(stream: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of stream) {
    text += decoder.decode(bytes, { stream: true });
    const blocks = text.split("\n\n");
    text = blocks.pop() ?? "";
    for (const block of blocks) if (block.startsWith("data: ")) yield block.slice("data: ".length);
  }
}

function deltaOf(event: unknown): { readonly piece: string; readonly thought: string } {
  if (typeof event === "object" && event !== null && "error" in event) throw errorOf(event, "the answer broke off");
  const { choices } = event as { readonly choices?: readonly { readonly delta?: { readonly content?: string | null; readonly reasoning_content?: string | null } }[] };
  const delta = choices?.[0]?.delta;
  return { piece: delta?.content ?? "", thought: delta?.reasoning_content ?? "" };
}
