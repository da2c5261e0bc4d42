/**
 * What `minid up` shows: one line that is rewritten on a terminal, and one line per news where output is a file. It ends with
 * the address and a curl line, printed only after a token has come out of the model.
 */
import { sleep } from "../core/clock.js";
import { complaintOf, wordsOf } from "../daemon/logs/last-words.js";
import type { StatusSnapshot } from "../daemon/status.js";
import { NodeClient } from "./node-client.js";

const POLL_MS = 250;
const firstTokenTimeoutMs = 60_000;

interface Target { /** Where a person on this machine asks. */ readonly url: string; /** For callers from other machines; undefined where none can come. */ readonly elsewhereUrl: string | undefined; readonly modelId: string; readonly home: string; readonly signal: AbortSignal }

export class Progress {
  readonly #out: NodeJS.WriteStream;
  #shown = "";

  constructor(out: NodeJS.WriteStream) { this.#out = out; }

  /** Resolves once the node has answered a request with a token of the model. */
  async untilServing(target: Target): Promise<void> {
    const { url, elsewhereUrl, modelId, home, signal } = target;
    this.#line(`minid: home ${target.home}`);
    this.#line(`minid: logs ${target.home}/logs`);
    const startedWallMs = Date.now();
    for (;;) {
      signal.throwIfAborted();
      const node = NodeClient.ofHome(home);
      const status = await statusOf(node, signal);
      this.#show(status ? describe(status) : await notYet(home, startedWallMs));
      if (status?.ready && await producesToken(node, modelId, signal)) break;
      await sleep(POLL_MS, { signal });
    }
    this.#clear();
    this.#line(`minid: ${modelId} answers at ${url}`);
    this.#line("Try it:");
    this.#line(`  curl ${url}/v1/chat/completions -H 'Content-Type: application/json' \\`);
    this.#line(`    -d '{"model":"${modelId}","temperature":0,"messages":[{"role":"user","content":"What is the capital of France?"}]}'`);
    if (elsewhereUrl !== undefined) this.#line(`From other machines: ${elsewhereUrl}, with a key that \`minid key create\` makes.`);
    this.#line("Ctrl-C ends it.");
  }

  end(): void { this.#clear(); }

  #show(text: string): void {
    if (text === this.#shown) return;
    this.#shown = text;
    if (this.#out.isTTY) this.#out.write(`\r\u001B[Kminid: ${text}`);
    else this.#line(`minid: ${text}`);
  }

  #clear(): void { if (this.#out.isTTY && this.#shown !== "") this.#out.write("\r\u001B[K"); this.#shown = ""; }
  #line(text: string): void { this.#out.write(`${text}\n`); }
}

/** Progress in steps of a quarter where every poll would otherwise be a new line. */
function describe(status: StatusSnapshot): string {
  const loading = status.devices.filter((device) => device.worker?.phase === "loading");
  if (loading.length > 0) {
    const parts = loading.map((device) => {
      const { bytes_loaded = 0, bytes_total = 0 } = device.worker ?? {};
      return `${device.device_id} ${bytes_total > 0 ? Math.floor(4 * bytes_loaded / bytes_total) * 25 : 0} %`;
    });
    return `loading ${status.model.id}: ${parts.join(", ")}`;
  }
  if (status.ready) return "warming up";
  return status.reasons[0]?.message ?? "starting";
}

/** The agent does not answer. It is started again and again: what is wrong may pass, as a full disk does. */
async function notYet(home: string, startedWallMs: number): Promise<string> {
  const complaint = complaintOf(await wordsOf(home, "agent", startedWallMs));
  return complaint === "" ? "starting" : `starting again and again, because the agent ends: ${complaint}`;
}

async function statusOf(node: NodeClient, signal: AbortSignal): Promise<StatusSnapshot | undefined> {
  const reply = await node.call("GET", "/distributed/status", { signal }).catch(() => undefined);
  return reply?.status === 200 ? reply.body as StatusSnapshot : undefined;
}

async function producesToken(node: NodeClient, modelId: string, signal: AbortSignal): Promise<boolean> {
  const body = { model: modelId, max_tokens: 1, temperature: 0, messages: [{ role: "user", content: "Hi" }] };
  const reply = await node.call("POST", "/v1/chat/completions", { signal, body, timeoutMs: firstTokenTimeoutMs }).catch(() => undefined);
  return reply?.status === 200 && (reply.body as { usage?: { completion_tokens?: number } }).usage?.completion_tokens === 1;
}
