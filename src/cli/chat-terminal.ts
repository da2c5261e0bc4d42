/**
 * A conversation at a terminal. Ctrl-C stops the answer and not the program; Ctrl-D or /exit leaves.
 * A failed answer is one line, and the conversation goes on.
 */
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { errorLine } from "../core/errors.js";
import type { ChatClient } from "./chat-client.js";

export interface Terminal {
  readonly input: Readable;
  readonly output: Writable;
}

/** Thoughts are shown, and are told from the answer. */
const [dim, plain] = ["\u001B[2m", "\u001B[22m"];

const help = [
  "/clear          forget the conversation",
  "/system TEXT    set the system message (without text: none)",
  "/exit           leave; so does Ctrl-D",
  "A line that ends in \\ goes on in the next. Ctrl-C stops an answer.",
].join("\n");

export async function converse(client: ChatClient, { input, output }: Terminal): Promise<void> {
  const say = (line: string) => output.write(`${line}\n`);
  say(`${await client.model()}: /help lists the commands`);
  // Nothing may be awaited between this and the loop: lines typed meanwhile would be lost.
  const lines = createInterface({ input, output, terminal: true, prompt: "> ", historySize: 1_000 });
  let answering: AbortController | undefined;
  lines.on("SIGINT", () => {
    if (answering) { answering.abort(); return; }
    // Throws away what was being typed, as shells do.
    lines.write(null, { ctrl: true, name: "e" });
    lines.write(null, { ctrl: true, name: "u" });
    say("\n(Ctrl-D or /exit leaves)");
    lines.prompt();
  });
  let pending = "";
  lines.prompt();
  for await (const line of lines) {
    if (line.endsWith("\\")) {
      pending += `${line.slice(0, -1)}\n`;
      output.write(". ");
      continue;
    }
    const text = (pending + line).trim();
    pending = "";
    if (text === "/exit") break;
    if (text.startsWith("/")) say(command(client, text));
    else if (text !== "") {
      answering = new AbortController();
      await answer(client, text, output, answering.signal);
      answering = undefined;
    }
    lines.prompt();
  }
  lines.close();
}

function command(client: ChatClient, text: string): string {
  const [, name, rest = ""] = /^\/(\S*)\s*(.*)$/su.exec(text) ?? [];
  switch (name) {
    case "clear":
      client.forget();
      return "forgotten";
    case "system":
      client.system = rest === "" ? undefined : rest;
      return rest === "" ? "no system message" : "set";
    case "help":
      return help;
    default:
      return `there is no command /${name}: /help lists them`;
  }
}

async function answer(client: ChatClient, question: string, output: Writable, signal: AbortSignal): Promise<void> {
  let thinking = false;
  const think = (piece: string) => {
    output.write(thinking ? piece : `${dim}${piece}`);
    thinking = true;
  };
  const answered = () => {
    if (thinking) output.write(`${plain}\n\n`);
    thinking = false;
  };
  try {
    for await (const piece of client.ask(question, signal, think)) {
      answered();
      output.write(piece);
    }
    answered();
    output.write(signal.aborted ? " (stopped)\n" : "\n");
  } catch (error) {
    answered();
    output.write(`\n${errorLine(error)}\n`);
  }
}
