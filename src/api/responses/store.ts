/**
 * Responses that later requests may go on with: in this node's memory, bounded in number and size, the oldest go first.
 * Another node does not have them, and a restart forgets them; clients are told with 404, and send the conversation instead.
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
  readonly #stored = new Map<string, { readonly stored: StoredResponse; readonly chars: number }>();
  #chars = 0;

  get(id: string): StoredResponse | undefined { return this.#stored.get(id)?.stored; }

  put(id: string, stored: StoredResponse): void {
    const chars = JSON.stringify(stored).length;
    if (chars > charsMax) return;
    this.#stored.set(id, { stored, chars });
    this.#chars += chars;
    for (const oldest of this.#stored.keys()) {
      if (this.#stored.size <= countMax && this.#chars <= charsMax) break;
      this.delete(oldest);
    }
  }

  /** @returns false when there was none. */
  delete(id: string): boolean {
    this.#chars -= this.#stored.get(id)?.chars ?? 0;
    return this.#stored.delete(id);
  }
}
