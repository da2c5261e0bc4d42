/**
 * `minid bench`: how fast the cluster serves, asked of it as clients do: streams of fixed length at rising concurrency over the HTTP API.
 * Time to first token, tokens per second of one stream and of all together. It is load like any other: not for a busy hour.
 */
import { defineCommand } from "citty";
import { MinidError } from "../core/errors.js";
import { homeArgs, jsonArgs, refuseUnknownFlags, stringArg } from "./common.js";
import { ChatClient } from "./chat-client.js";
import { NodeClient, nodeArgs } from "./node-client.js";

const ownArgs = {
  streams: { type: "string", description: "Streams at once, one round for each number (default 1,2,4,8)", valueHint: "N,N" },
  tokens: { type: "string", description: "Tokens of each answer (default 64)", valueHint: "N" },
  model: { type: "string", description: "Model (default: the one that the node serves)", valueHint: "ID" },
} as const;

interface Round {
  readonly streams: number;
  /** Over all streams, from the first request to the last token. */
  readonly tokens_per_second: number;
  /** Of one stream, after its first token. */
  readonly stream_tokens_per_second: number;
  readonly first_token_ms: { readonly p50: number; readonly max: number };
  readonly failed: number;
}

export const benchCommand = defineCommand({
  meta: { name: "bench", description: "Measure how fast the cluster serves" },
  args: { ...ownArgs, ...homeArgs, ...nodeArgs, ...jsonArgs },
  run: async ({ args }) => {
    refuseUnknownFlags(args, { ...ownArgs, ...homeArgs, ...nodeArgs, ...jsonArgs });
    const counts = (stringArg(args, "streams") ?? "1,2,4,8").split(",").map((part) => wholeNumber("streams", part, 256));
    const tokens = wholeNumber("tokens", stringArg(args, "tokens") ?? "64", 4_096);
    const node = NodeClient.fromArgs(args);
    const model = stringArg(args, "model");
    const client = (): ChatClient => new ChatClient({ node, temperature: 0, maxTokens: tokens, ...(model !== undefined && { model }) });
    const name = await client().model();
    // The first answer after a start pays for what the others find warm.
    await stream(client(), 0);
    const rounds: Round[] = [];
    if (!args.json) console.log(`${name} at ${node.name}, answers of up to ${tokens} tokens\nstreams  all tok/s  each tok/s  first token p50/max`);
    for (const count of counts) {
      const round = await measure(client, count);
      rounds.push(round);
      if (!args.json) console.log(`${String(count).padStart(7)}  ${round.tokens_per_second.toFixed(1).padStart(9)}  ${round.stream_tokens_per_second.toFixed(1).padStart(10)}  ${round.first_token_ms.p50.toFixed(0)}/${round.first_token_ms.max.toFixed(0)} ms${round.failed > 0 ? `  ${round.failed} FAILED` : ""}`);
    }
    if (args.json) console.log(JSON.stringify({ model: name, node: node.name, tokens, rounds }));
    return rounds.some((round) => round.failed > 0) ? 1 : 0;
  },
});

function wholeNumber(flag: string, text: string, max: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > max) throw new MinidError("usage", `--${flag} ${JSON.stringify(text)}: write a whole number from 1 to ${max}`);
  return value;
}

async function measure(client: () => ChatClient, count: number): Promise<Round> {
  const startedMs = performance.now();
  const settled = await Promise.allSettled(Array.from({ length: count }, (_, index) => stream(client(), index)));
  const seconds = (performance.now() - startedMs) / 1_000;
  const done = settled.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  const firsts = done.map(({ firstMs }) => firstMs).sort((a, b) => a - b);
  const rates = done.flatMap(({ pieces, firstMs, totalMs }) => (pieces > 1 && totalMs > firstMs ? [1_000 * (pieces - 1) / (totalMs - firstMs)] : []));
  return {
    streams: count,
    tokens_per_second: done.reduce((sum, { pieces }) => sum + pieces, 0) / seconds,
    stream_tokens_per_second: rates.length === 0 ? 0 : rates.reduce((sum, rate) => sum + rate, 0) / rates.length,
    first_token_ms: { p50: firsts[Math.floor(firsts.length / 2)] ?? 0, max: firsts.at(-1) ?? 0 },
    failed: count - done.length,
  };
}

/** Each stream asks for something else, so that none lives off another's cached prompt. A piece of the stream is a token, but for characters that take several. */
async function stream(client: ChatClient, index: number): Promise<{ readonly pieces: number; readonly firstMs: number; readonly totalMs: number }> {
  const startedMs = performance.now();
  let [pieces, firstMs] = [0, 0];
  for await (const _ of client.ask(`${index + 1}. Tell a long story about a lighthouse keeper, a storm and ${index + 2} ships.`, new AbortController().signal)) {
    if (pieces === 0) firstMs = performance.now() - startedMs;
    pieces += 1;
  }
  if (pieces === 0) throw new MinidError("engine_failed", "an answer had no token");
  return { pieces, firstMs, totalMs: performance.now() - startedMs };
}
