import { connect, type Socket } from "node:net";
import type { FastifyInstance } from "fastify";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import type { ApiOptions } from "../../../src/api/options.js";
import type { ServedModel } from "../../../src/api/served-model.js";
import type { Generator } from "../../../src/daemon/inference/generate.js";
import { babbling, encode, endOfTurn, events, frontDoor, listen, saying, ScriptedGenerator, silent, smolModel, until, userSays } from "./support.js";

let model: ServedModel;
beforeAll(async () => { model = await smolModel(); });

const open: FastifyInstance[] = [];
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(open.splice(0).map((server) => server.close()));
});

async function start(generator: Generator, options: Partial<ApiOptions> = {}) {
  const server = frontDoor(model, generator, {}, options);
  open.push(server);
  return { server, url: await listen(server) };
}

const post = (url: string, body: object, init: RequestInit = {}) =>
  fetch(`${url}/v1/chat/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), ...init });

/** A connection of our own making: what it has received is in `text`. */
async function rawConnection(url: string, send: string) {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  sockets.push(socket);
  const received = { text: "", closed: false };
  socket.on("data", (data) => { received.text += data.toString(); }).on("close", () => { received.closed = true; }).on("error", () => {});
  await new Promise((resolve) => { socket.once("connect", resolve); });
  socket.write(send);
  return { socket, received };
}

const rawPost = (body: object) => {
  const text = JSON.stringify(body);
  return `POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;
};

const hello = () => encode(model, "hello again");

describe("a client that goes away", () => {
  it.each([true, false])("stops the generator at once while tokens come (stream: %s)", async (stream) => {
    const generator = new ScriptedGenerator(babbling(hello()));
    const { url } = await start(generator);
    const gone = new AbortController();
    const answer = post(url, userSays("Hi", { stream }), { signal: gone.signal }).catch(() => undefined);
    await until(() => expect(generator.signals).toHaveLength(1));
    if (stream) await answer;
    expect(generator.signals[0]!.aborted).toBe(false);
    gone.abort();
    await until(() => expect(generator.signals[0]!.aborted).toBe(true));
  });

  it.each([true, false])("stops the generator before the first token (stream: %s)", async (stream) => {
    const generator = new ScriptedGenerator(silent);
    const { url } = await start(generator);
    const { socket } = await rawConnection(url, rawPost(userSays("Hi", { stream })));
    await until(() => expect(generator.signals).toHaveLength(1));
    socket.destroy();
    await until(() => expect(generator.signals[0]!.aborted).toBe(true));
  });

  it("is let go of even by a generator that is deaf to its signal", async () => {
    let unanswered = 0;
    const deaf = new ScriptedGenerator(async function* script() {
      unanswered += 1;
      await new Promise(() => {});
      yield { kind: "admitted", cachedPromptTokens: 0 };
    });
    const { server, url } = await start(deaf, { requestTimeoutMs: 200 });
    const response = await post(url, userSays("Hi"));
    expect([response.status, unanswered]).toEqual([504, 1]);
    await server.close();
  });
});

describe("a slow reader", () => {
  it("is cut off when it leaves more unread than the bound, and the generator is stopped", async () => {
    const generator = new ScriptedGenerator(babbling(hello()));
    const { url } = await start(generator, { streamBufferBytesMax: 64 << 10 });
    const { socket, received } = await rawConnection(url, rawPost(userSays("Hi", { stream: true })));
    await until(() => expect(received.text).toContain("data: "));
    socket.pause();
    await new Promise<void>((resolve, reject) => {
      generator.signals[0]!.addEventListener("abort", () => resolve(), { once: true });
      AbortSignal.timeout(60_000).addEventListener("abort", () => reject(new Error("the slow reader was not cut off")));
    });
    socket.resume();
    await until(() => expect(received.closed).toBe(true));
    expect(received.text).not.toContain("[DONE]");
  });
});

describe("a stream that waits", () => {
  it("sends the status line and comments while nothing comes, and an error then is an event", async () => {
    const generator = new ScriptedGenerator(silent);
    const { url } = await start(generator, { keepAliveMs: 20, requestTimeoutMs: 300 });
    const response = await post(url, userSays("Hi", { stream: true }));
    expect(response.status).toBe(200);
    const text = await response.text();
    expect(text.match(/^: keep-alive$/gmu)!.length).toBeGreaterThan(2);
    expect(events(text).map((data) => JSON.parse(data) as unknown)).toMatchObject([{ error: { code: "deadline_exceeded" } }]);
  });

  it("sends no comment between tokens that come quickly", async () => {
    const { url } = await start(new ScriptedGenerator(saying([...hello(), endOfTurn])), { keepAliveMs: 5_000 });
    expect(await (await post(url, userSays("Hi", { stream: true }))).text()).not.toContain("keep-alive");
  });

  it("delivers each token when it comes, not when the answer is over", async () => {
    let release: () => void = () => {};
    const held = new Promise<void>((resolve) => { release = resolve; });
    const generator = new ScriptedGenerator(async function* script() {
      yield { kind: "tokens", tokens: [{ token: hello()[0]!, index: 0 }] };
      await held;
      yield { kind: "finished", reason: "length", cachedPromptTokens: 0 };
    });
    const { url } = await start(generator);
    const reader = (await post(url, userSays("Hi", { stream: true }))).body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while (!text.includes('"content":"hello"')) text += (await reader.read()).value ?? "";
    expect(text).not.toContain("[DONE]");
    release();
    while (!text.includes("[DONE]")) text += (await reader.read()).value ?? "";
    expect(text).toContain('"finish_reason":"length"');
  });
});

describe("a deadline", () => {
  it("ends a request that is not streaming with 504, by the client's own timeout header", async () => {
    const generator = new ScriptedGenerator(silent);
    const { url } = await start(generator);
    const response = await post(url, userSays("Hi"), { headers: { "content-type": "application/json", timeout: "0.05" } });
    expect(response.status).toBe(504);
    expect(await response.json()).toMatchObject({ error: { code: "deadline_exceeded", message: expect.stringContaining("0.05 s") as string } });
    expect(generator.requests[0]!.deadlineMs).toBeLessThanOrEqual(50);
    expect(generator.signals[0]!.aborted).toBe(true);
  });
});

describe("bytes that are no request", () => {
  it("are refused in OpenAI's error shape", async () => {
    const { url } = await start(new ScriptedGenerator(silent));
    const { received } = await rawConnection(url, "GARBAGE\r\n\r\n");
    await until(() => expect(received.closed).toBe(true));
    expect(received.text).toMatch(/^HTTP\/1\.1 400 /u);
    expect(JSON.parse(received.text.split("\r\n\r\n")[1]!)).toMatchObject({ error: { code: "malformed_request", type: "invalid_request_error", param: null } });
  });

  it("do not get their refusal mixed into a stream on the same connection", async () => {
    const generator = new ScriptedGenerator(babbling(hello()));
    const { url } = await start(generator);
    const { socket, received } = await rawConnection(url, rawPost(userSays("Hi", { stream: true })));
    await until(() => expect(received.text).toContain("data: "));
    socket.write("GARBAGE\r\n\r\n");
    await until(() => expect(received.closed).toBe(true));
    expect(received.text).not.toContain("malformed_request");
    await until(() => expect(generator.signals[0]!.aborted).toBe(true));
  });

  it("get an answer when they are a body that is too large, announced or in chunks", async () => {
    const { url } = await start(new ScriptedGenerator(silent));
    const body = JSON.stringify(userSays("x".repeat(3 << 20)));
    for (let round = 0; round < 5; round += 1) {
      const response = await post(url, {}, { body });
      expect([response.status, await response.json()]).toMatchObject([413, { error: { code: "request_too_large" } }]);
      const chunked = await post(url, {}, { body: new Blob([body]).stream(), duplex: "half" });
      expect(chunked.status).toBe(413);
    }
  });
});

describe("closing", () => {
  it("does not wait for connections that carry no request", async () => {
    const { server, url } = await start(new ScriptedGenerator(silent));
    const fresh = await rawConnection(url, "");
    const used = await rawConnection(url, "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await until(() => expect(used.received.text).toContain("live"));
    await server.close();
    await until(() => expect([fresh.received.closed, used.received.closed]).toEqual([true, true]));
  });

  it("refuses what still arrives with 503 draining", async () => {
    const generator = new ScriptedGenerator(silent);
    const { server, url } = await start(generator, { requestTimeoutMs: 300 });
    const { socket, received } = await rawConnection(url, rawPost(userSays("Hi")));
    await until(() => expect(generator.signals).toHaveLength(1));
    const closed = server.close();
    socket.write("GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await closed;
    await until(() => expect(received.closed).toBe(true));
    expect(received.text).toContain('"draining"');
  });

  it("lets an answer that is on its way finish", async () => {
    let release: () => void = () => {};
    const held = new Promise<void>((resolve) => { release = resolve; });
    const generator = new ScriptedGenerator(async function* script() {
      yield { kind: "tokens", tokens: [{ token: hello()[0]!, index: 0 }] };
      await held;
      yield { kind: "finished", reason: "length", cachedPromptTokens: 0 };
    });
    const { server, url } = await start(generator);
    const response = await post(url, userSays("Hi", { stream: true }));
    const closed = server.close();
    release();
    expect(await response.text()).toContain("[DONE]");
    await closed;
  });
});
