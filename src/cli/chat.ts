/** `minid chat`: a conversation in the terminal; with a question on the command line or a pipe, one answer to standard output. */
import { text as readAll } from "node:stream/consumers";
import { defineCommand } from "citty";
import { MinidError } from "../core/errors.js";
import { ChatClient, type ChatOptions } from "./chat-client.js";
import { converse } from "./chat-terminal.js";
import { homeArgs, refuseUnknownFlags, stringArg } from "./common.js";
import { NodeClient, nodeArgs } from "./node-client.js";

const chatArgs = {
  ...homeArgs,
  ...nodeArgs,
  model: { type: "string", description: "Model (default: the one that the node serves)", valueHint: "ID" },
  system: { type: "string", description: "System message", valueHint: "TEXT" },
  temperature: { type: "string", description: "Sampling temperature, 0 to 2", valueHint: "N" },
  "max-tokens": { type: "string", description: "Longest answer, in tokens", valueHint: "N" },
} as const;

export const chatCommand = defineCommand({
  meta: { name: "chat", description: "Chat with the model; `minid chat QUESTION` or a pipe gets one answer" },
  args: chatArgs,
  run: async ({ args }) => {
    refuseUnknownFlags(args, chatArgs);
    const client = new ChatClient(chatOptions(args));
    const words = args._.join(" ");
    if (words === "" && process.stdin.isTTY && process.stdout.isTTY) {
      await converse(client, { input: process.stdin, output: process.stdout });
      return 0;
    }
    const piped = process.stdin.isTTY ? "" : (await readAll(process.stdin)).trim();
    const question = [words, piped].filter((part) => part !== "").join("\n\n");
    if (question === "") throw new MinidError("usage", "there is no question: write it behind `minid chat`, or pipe it in");
    await answerOnce(client, question);
    return 0;
  },
});

function chatOptions(args: Readonly<Record<string, unknown>>): ChatOptions {
  const [model, system] = [stringArg(args, "model"), stringArg(args, "system")];
  const temperature = numberArg(args, "temperature");
  const maxTokens = numberArg(args, "max-tokens");
  return {
    node: NodeClient.fromArgs(args),
    ...(model !== undefined && { model }), ...(system !== undefined && { system }),
    ...(temperature !== undefined && { temperature }), ...(maxTokens !== undefined && { maxTokens }),
  };
}

function numberArg(args: Readonly<Record<string, unknown>>, name: string): number | undefined {
  const text = stringArg(args, name);
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new MinidError("usage", `--${name} ${text} is not a number`);
  return value;
}

/** A reader that has enough (`| head -1`) and Ctrl-C end the answer, not with an error. */
async function answerOnce(client: ChatClient, question: string): Promise<void> {
  const enough = new AbortController();
  const stop = () => enough.abort();
  process.once("SIGINT", stop);
  process.stdout.once("error", stop);
  try {
    for await (const piece of client.ask(question, enough.signal)) process.stdout.write(piece);
    if (!enough.signal.aborted) process.stdout.write("\n");
  } finally {
    process.off("SIGINT", stop);
  }
}
