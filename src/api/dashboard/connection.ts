/** How the page talks to its node: the status, and a streamed answer. Holds the API key, in this tab's session storage only. */
import type { Status } from "./wire.js";

const storageKey = "minid-api-key";

export class KeyNeeded extends Error {
  override readonly name = "KeyNeeded";
}

export interface Piece { readonly text: string; readonly finishReason: string | undefined; readonly tokens: number | undefined }

export class Connection {
  #key = sessionStorage.getItem(storageKey) ?? "";

  setKey(key: string): void {
    this.#key = key;
    sessionStorage.setItem(storageKey, key);
  }

  async status(): Promise<Status> {
    const response = await this.#fetch("/distributed/status", { signal: AbortSignal.timeout(5_000) });
    return await response.json() as Status;
  }

  /** The pieces of an answer as they come. @throws Error with the server's own words when it refuses or gives up. */
  async *chat(model: string, messages: readonly { readonly role: string; readonly content: string }[], signal: AbortSignal): AsyncGenerator<Piece> {
    const body = JSON.stringify({ model, messages, stream: true, stream_options: { include_usage: true } });
    const response = await this.#fetch("/v1/chat/completions", { method: "POST", headers: { "content-type": "application/json" }, body, signal });
    for await (const data of events(response)) {
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data) as Chunk;
      if (chunk.error) throw new Error(chunk.error.message);
      const choice = chunk.choices?.[0];
      yield { text: choice?.delta?.content ?? "", finishReason: choice?.finish_reason ?? undefined, tokens: chunk.usage?.completion_tokens };
    }
  }

  async #fetch(path: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.#key !== "") headers.set("authorization", `Bearer ${this.#key}`);
    const response = await fetch(path, { ...init, headers, cache: "no-store" });
    if (response.ok) return response;
    const refusal = await response.json().catch(() => undefined) as Chunk | undefined;
    const message = refusal?.error?.message ?? `The node answered ${response.status}.`;
    throw response.status === 401 || response.status === 403 ? new KeyNeeded(message) : new Error(message);
  }
}

interface Chunk {
  readonly error?: { readonly message: string };
  readonly choices?: readonly { readonly delta?: { readonly content?: string }; readonly finish_reason?: string | null }[];
  readonly usage?: { readonly completion_tokens: number } | null;
}

/** The payloads of `data:` lines; comments keep the connection alive and say nothing. */
async function* events(response: Response): AsyncGenerator<string> {
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.startsWith("data: ")) yield line.slice(6).trimEnd();
  }
}
