/**
 * Responses that later requests may go on with: in this node's memory, bounded in number and size, the oldest go first.
 * Another node does not have them, and a restart forgets them; clients are told with 404, and send the conversation instead. So is whoever
 * asks for those of another API key.
 */
import type { ChatMessage } from "../../model/chat-template.js";

export interface StoredResponse {
  readonly response: object;
  /** The conversation up to and with the answer, without instructions. */
  readonly messages: readonly ChatMessage[];
}

const countMax = 1_000;
const charsMax = 64 << 20;

export class ResponseStore {
  readonly #stored = new Map<string, { readonly owner: string; readonly stored: StoredResponse; readonly chars: number }>();
  #chars = 0;

  /** @param owner who asks (`principalOf`). */
  get(id: string, owner: string): StoredResponse | undefined {
    const found = this.#stored.get(id);
    return found?.owner === owner ? found.stored : undefined;
  }

  put(id: string, owner: string, stored: StoredResponse): void {
    const chars = JSON.stringify(stored).length;
    if (chars > charsMax) return;
    this.#stored.set(id, { owner, stored, chars });
    this.#chars += chars;
    for (const oldest of this.#stored.keys()) {
      if (this.#stored.size <= countMax && this.#chars <= charsMax) break;
      this.#drop(oldest);
    }
  }

  /** @returns false when the owner has none of that id. */
  delete(id: string, owner: string): boolean {
    return this.get(id, owner) !== undefined && this.#drop(id);
  }

  #drop(id: string): boolean {
    this.#chars -= this.#stored.get(id)?.chars ?? 0;
    return this.#stored.delete(id);
  }
}
