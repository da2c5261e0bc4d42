/** Bytes as no HTTP library would send them: request smuggling, slow headers and bodies, floods on one connection. Over real sockets. */
import { type Socket, connect } from "node:net";
import type { FastifyInstance } from "fastify";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import type { ApiOptions } from "../../../src/api/options.js";
import type { ServedModel } from "../../../src/api/served-model.js";
import { frontDoor, healthyStatus, listen, saying, ScriptedGenerator, silent, smolModel, until, userSays } from "./support.js";

let model: ServedModel;
beforeAll(async () => { model = await smolModel(); });
const open: FastifyInstance[] = [];
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(open.splice(0).map((server) => server.close()));
});

/** How often a request reached the route that a smuggled one would name. */
let smuggled = 0;
async function start(options: Partial<ApiOptions> = {}, generator = new ScriptedGenerator(saying([5]))): Promise<number> {
  smuggled = 0;
  const server = frontDoor(model, generator, { status: { ...healthyStatus, plan: () => { smuggled += 1; return {}; } } }, options);
  open.push(server);
  return Number(new URL(await listen(server)).port);
}

async function dial(port: number) {
  const socket = connect(port, "127.0.0.1");
  sockets.push(socket);
  const received = { text: "", closed: false };
  socket.on("data", (data) => { received.text += data.toString("latin1"); }).on("close", () => { received.closed = true; }).on("error", () => {});
  await new Promise((resolve) => { socket.once("connect", resolve); });
  return { socket, received };
}

const statuses = (text: string): number[] => [...text.matchAll(/HTTP\/1\.1 (\d{3}) /gu)].map((match) => Number(match[1]));
const hidden = "GET /distributed/plan HTTP/1.1\r\nHost: localhost\r\n\r\n";
const post = (headers: string, body: string): string => `POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n${headers}\r\n\r\n${body}`;

/** Each is a message whose length two programs could read differently; the hidden request is in what one of them would take for the body. */
const ambiguous: Record<string, string> = {
  "both lengths, CL first": post(`Content-Length: ${5 + hidden.length}\r\nTransfer-Encoding: chunked`, `0\r\n\r\n${hidden}`),
  "both lengths, TE first": post(`Transfer-Encoding: chunked\r\nContent-Length: 4`, `0\r\n\r\n${hidden}`),
  "two different lengths": post(`Content-Length: 0\r\nContent-Length: ${hidden.length}`, hidden),
  "two equal lengths": post(`Content-Length: 2\r\nContent-Length: 2`, `{}${hidden}`),
  "a list of lengths": post(`Content-Length: 0, ${hidden.length}`, hidden),
  "a signed length": post(`Content-Length: +0`, hidden),
  "a negative length": post(`Content-Length: -1`, hidden),
  "a length in hexadecimal": post(`Content-Length: 0x0`, hidden),
  "a length beyond all numbers": post(`Content-Length: 99999999999999999999999999`, hidden),
  "an empty length": post(`Content-Length: `, hidden),
  "chunked not last": post("Transfer-Encoding: chunked, identity", `0\r\n\r\n${hidden}`),
  "an unknown coding": post("Transfer-Encoding: xchunked", `0\r\n\r\n${hidden}`),
  "a space before the colon": post(`Transfer-Encoding : chunked\r\nContent-Length: ${5 + hidden.length}`, `0\r\n\r\n${hidden}`),
  "a tab before the coding's end": post(`Transfer-Encoding: chunked\t\u000b\r\nContent-Length: ${5 + hidden.length}`, `0\r\n\r\n${hidden}`),
  "a folded header": post(`X-A: b\r\n Transfer-Encoding: chunked\r\nContent-Length: ${5 + hidden.length}`, `0\r\n\r\n${hidden}`),
  "lines that end in LF": `POST /v1/chat/completions HTTP/1.1\nHost: localhost\nContent-Length: 0\n\n${hidden}`,
  "a bare CR in a header": post(`X-A: b\rTransfer-Encoding: chunked\r\nContent-Length: 0`, hidden),
  "a NUL in a header": post("X-A: b\u0000\r\nContent-Length: 0", hidden),
  "a NUL in a name": post("X\u0000A: b\r\nContent-Length: 0", hidden),
  "a chunk size with a sign": post("Transfer-Encoding: chunked", `+0\r\n\r\n${hidden}`),
  "a chunk size in 0x": post("Transfer-Encoding: chunked", `0x0\r\n\r\n${hidden}`),
  "a chunk that ends in LF": post("Transfer-Encoding: chunked", `2\r\n{}\n0\r\n\r\n${hidden}`),
  "a chunk size that overflows": post("Transfer-Encoding: chunked", `10000000000000000\r\n${hidden}`),
  "an old version with a coding": `POST /v1/chat/completions HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${hidden}`,
  "no version": `GET /health\r\n\r\n${hidden}`,
  "a version of the future": `GET /health HTTP/3.7\r\nHost: localhost\r\n\r\n${hidden}`,
  "two hosts": `GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n`,
  "no host": `GET /health HTTP/1.1\r\n\r\n`,
  "a space in the address": `GET /health /distributed/plan HTTP/1.1\r\nHost: localhost\r\n\r\n`,
  "a header without a colon": `GET /health HTTP/1.1\r\nHost: localhost\r\nnonsense\r\n\r\n${hidden}`,
};

describe("a request whose end is ambiguous", () => {
  it.each(Object.entries(ambiguous))("is refused, and what is hidden in it is not answered: %s", async (_name, bytes) => {
    const port = await start();
    const { socket, received } = await dial(port);
    socket.write(Buffer.from(bytes, "latin1"));
    // What the server has to say; then an end of our own, so that nothing waits for more.
    await until(() => expect(received.text !== "" || received.closed).toBe(true));
    socket.end();
    await until(() => expect(received.closed).toBe(true));
    const seen = statuses(received.text);
    expect(smuggled).toBe(0);
    expect(seen.length).toBeLessThanOrEqual(1);
    expect(seen.every((status) => status >= 400 && status < 500), received.text).toBe(true);
  });

  it("whose target is no path is refused, and is no bug of ours", async () => {
    for (const target of ["here", "v1/models"]) {
      const { socket, received } = await dial(await start());
      socket.write(`GET ${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
      await until(() => expect(statuses(received.text)).toHaveLength(1));
      expect(statuses(received.text)[0], target).toBe(400);
      expect(received.text).not.toContain("internal_error");
    }
  });

  it("leaves an unambiguous one alone: a chunked body and a second request behind it", async () => {
    const port = await start();
    const { socket, received } = await dial(port);
    const body = JSON.stringify(userSays("Hi", { max_tokens: 1 }));
    socket.write(post("Transfer-Encoding: chunked", `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n${hidden}`));
    await until(() => expect(statuses(received.text)).toEqual([200, 200]));
    expect(smuggled).toBe(1);
  });
});

describe("a slow sender", () => {
  const times = { headersTimeoutMs: 300, receiveTimeoutMs: 900 };

  it("of headers is refused with 408", async () => {
    const { socket, received } = await dial(await start(times));
    socket.write("GET /health HTTP/1.1\r\nHost: localhost\r\n");
    const drip = setInterval(() => { socket.write("X-A: b\r\n"); }, 50);
    await until(() => expect(received.closed).toBe(true));
    clearInterval(drip);
    expect(statuses(received.text)).toEqual([408]);
  });

  it("of a body is refused with 408", async () => {
    const { socket, received } = await dial(await start(times));
    socket.write(post("Content-Length: 100000", "{"));
    const drip = setInterval(() => { socket.write(" "); }, 50);
    await until(() => expect(received.closed).toBe(true));
    clearInterval(drip);
    expect(statuses(received.text)).toEqual([408]);
  });

  it("of nothing at all is cut off", async () => {
    const { received } = await dial(await start(times));
    await until(() => expect(received.closed).toBe(true));
  });
});

describe("too much", () => {
  it.each([
    ["headers", `GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: ${"a".repeat(20_000)}\r\n\r\n`, 400],
    ["address", `GET /${"a".repeat(20_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`, 400],
    ["body announced", post("Content-Length: 3000000", ""), 413],
  ])("of %s is refused before it is read", async (_what, bytes, status) => {
    const { socket, received } = await dial(await start());
    socket.write(bytes);
    await until(() => expect(statuses(received.text)).toEqual([status]));
  });

  it("of a body in chunks is refused when the bound is passed", async () => {
    const { socket, received } = await dial(await start({ bodyBytesMax: 2_048 }));
    socket.write(post("Transfer-Encoding: chunked", ""));
    for (let n = 0; n < 40; n += 1) socket.write(`64\r\n${"a".repeat(100)}\r\n`);
    await until(() => expect(statuses(received.text)).toEqual([413]));
  });

  it("at once on one connection costs the connection, and what had begun on it is stopped", async () => {
    const generator = new ScriptedGenerator(silent);
    const { socket, received } = await dial(await start({ pipelinedMax: 4 }, generator));
    const body = JSON.stringify(userSays("Hi"));
    socket.write(post(`Content-Length: ${body.length}`, body).repeat(50));
    await until(() => expect(received.closed).toBe(true));
    await until(() => expect(generator.signals.every((signal) => signal.aborted)).toBe(true));
    expect(received.text).toBe("");
    expect(generator.requests.length).toBeLessThanOrEqual(4);
  });

  it("is not what a few requests in a row are; those queued behind the first hear that their client went away", async () => {
    const generator = new ScriptedGenerator(silent);
    const { socket } = await dial(await start({}, generator));
    const body = JSON.stringify(userSays("Hi"));
    socket.write(post(`Content-Length: ${body.length}`, body).repeat(3));
    await until(() => expect(generator.requests).toHaveLength(3));
    socket.destroy();
    await until(() => expect(generator.signals.every((signal) => signal.aborted)).toBe(true));
  });

  it("of connections is refused; the others go on, and room that is given back is used", async () => {
    const port = await start({ connectionsMax: 16 });
    const idle = await Promise.all(Array.from({ length: 16 }, () => dial(port)));
    const beyond = await dial(port);
    await until(() => expect(beyond.received.closed).toBe(true));
    idle[0]!.socket.write("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await until(() => expect(statuses(idle[0]!.received.text)).toEqual([200]));
    idle[1]!.socket.destroy();
    await until(() => expect(idle[1]!.received.closed).toBe(true));
    await until(async () => {
      const again = await dial(port);
      again.socket.write("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
      await new Promise((resolve) => { again.socket.once("data", resolve).once("close", resolve); });
      expect(statuses(again.received.text)).toEqual([200]);
    });
  });
});
