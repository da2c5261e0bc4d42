import { PassThrough } from "node:stream";
import type { FastifyInstance } from "fastify";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { ChatClient } from "../../../src/cli/chat-client.js";
import { NodeClient } from "../../../src/cli/node-client.js";
import { converse } from "../../../src/cli/chat-terminal.js";
import { ChatTemplate } from "../../../src/model/chat-template.js";
import type { ServedModel } from "../../../src/api/served-model.js";
import { MinidError } from "../../../src/core/errors.js";
import type { Generator } from "../../../src/daemon/inference/generate.js";
import { babbling, encode, endOfTurn, frontDoor, listen, saying, ScriptedGenerator, smolModel, until } from "../api/support.js";

let model: ServedModel;
beforeAll(async () => { model = await smolModel(); });

const open: FastifyInstance[] = [];
afterEach(async () => { await Promise.all(open.splice(0).map((server) => server.close())); });

async function node(generator: Generator): Promise<string> {
  const server = frontDoor(model, generator);
  open.push(server);
  return listen(server);
}

const prompts = (generator: ScriptedGenerator): string[] =>
  generator.requests.map((request) => model.assistant.tokenizer.decode(request.prompt, { keepSpecial: true }));
const answering = (text: string) => new ScriptedGenerator(saying([...encode(model, text), endOfTurn]));

/** A terminal whose typing is ours and whose screen can be read. */
function terminal(client: ChatClient) {
  const input = new PassThrough();
  const output = new PassThrough();
  const screen = { text: "" };
  output.on("data", (data: Buffer) => { screen.text += data.toString(); });
  const ended = converse(client, { input, output });
  return { type: (text: string) => input.write(text), screen, ended, leave: () => input.end() };
}

async function collect(pieces: AsyncIterable<string>): Promise<string> {
  let text = "";
  for await (const piece of pieces) text += piece;
  return text;
}

describe("ChatClient", () => {
  const never = new AbortController().signal;

  it("sends the system message and the conversation so far with each question", async () => {
    const generator = answering("Hello!");
    const client = new ChatClient({ node: NodeClient.at(await node(generator), undefined), system: "Be brief." });
    expect(await collect(client.ask("Hi", never))).toBe("Hello!");
    await collect(client.ask("Again", never));
    expect(prompts(generator)[1]).toBe("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nAgain<|im_end|>\n<|im_start|>assistant\n");
    client.forget();
    await collect(client.ask("New", never));
    expect(prompts(generator)[2]).not.toContain("Hello!");
  });

  it("throws the server's own error, before the stream and in it", async () => {
    const full = new ScriptedGenerator(async function* script() { yield* []; throw new MinidError("queue_full", "The queue is full."); });
    await expect(collect(new ChatClient({ node: NodeClient.at(await node(full), undefined) }).ask("Hi", never))).rejects.toMatchObject({ code: "queue_full", message: "The queue is full." });
    const breaking = new ScriptedGenerator(async function* script() {
      yield { kind: "tokens", tokens: [{ token: encode(model, "Hi")[0]!, index: 0 }] };
      throw new MinidError("stage_lost", "Rank 1 is gone.");
    });
    await expect(collect(new ChatClient({ node: NodeClient.at(await node(breaking), undefined) }).ask("Hi", never))).rejects.toMatchObject({ code: "stage_lost" });
  });

  it("says that minid is not running where nobody listens", async () => {
    const url = await node(answering("x"));
    await open.pop()!.close();
    await expect(collect(new ChatClient({ node: NodeClient.at(url, undefined) }).ask("Hi", never))).rejects.toMatchObject({ code: "not_running" });
  });
});

describe("minid chat at a terminal", () => {
  it("answers, keeps the conversation, obeys its commands and leaves with Ctrl-D", async () => {
    const generator = answering("Hello!");
    const { type, screen, ended, leave } = terminal(new ChatClient({ node: NodeClient.at(await node(generator), undefined) }));
    type("Hi\n");
    await until(() => expect(screen.text).toContain("Hello!\n"));
    type("/system Be brief.\n/clear\nfirst \\\nsecond\n");
    await until(() => expect(generator.requests).toHaveLength(2));
    expect(prompts(generator)[1]).toBe("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nfirst \nsecond<|im_end|>\n<|im_start|>assistant\n");
    type("/nonsense\n");
    await until(() => expect(screen.text).toContain("there is no command /nonsense"));
    leave();
    await ended;
  });

  it("stops the answer on Ctrl-C and goes on", async () => {
    const generator = new ScriptedGenerator(babbling(encode(model, "on and on")));
    const { type, screen, ended } = terminal(new ChatClient({ node: NodeClient.at(await node(generator), undefined) }));
    type("Hi\n");
    await until(() => expect(screen.text).toContain("on and on"));
    type("\u0003");
    await until(() => expect(screen.text).toContain("(stopped)"));
    await until(() => expect(generator.signals[0]!.aborted).toBe(true));
    type("half a line\u0003");
    await until(() => expect(screen.text).toContain("/exit leaves"));
    type("/exit\n");
    await ended;
    expect(generator.requests).toHaveLength(1);
  });

  it("shows thoughts dimmed, and keeps them out of the conversation", async () => {
    const template = new ChatTemplate(new Map([["default", "{% for m in messages %}{{ m.content }};{% endfor %}<think>\n"]]), {}, "test");
    const thinking = { ...model, assistant: { ...model.assistant, template } };
    const generator = answering("Hm.</think>\n\nYes.");
    const server = frontDoor(thinking, generator);
    open.push(server);
    const { type, screen, ended } = terminal(new ChatClient({ node: NodeClient.at(await listen(server), undefined) }));
    type("One?\n");
    await until(() => expect(screen.text).toContain("\u001B[2mHm.\u001B[22m\n\nYes.\n"));
    type("Two?\n");
    await until(() => expect(prompts(generator)[1]).toBe("One?;Yes.;Two?;<think>"));
    type("/exit\n");
    await ended;
  });

  it("tells a failure in one line and goes on", async () => {
    const generator = new ScriptedGenerator(async function* script() { yield* []; throw new MinidError("queue_full", "The queue is full."); });
    const { type, screen, ended } = terminal(new ChatClient({ node: NodeClient.at(await node(generator), undefined) }));
    type("Hi\n");
    await until(() => expect(screen.text).toContain("queue_full: The queue is full."));
    type("/exit\n");
    await ended;
  });
});
