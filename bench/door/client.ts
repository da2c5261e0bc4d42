/**
 * The client's half of `bench/front-door.ts`, a process of its own so that its work is not counted with the server's. It reads
 * bytes and counts events; parsing them is not what is measured. Orders and reports go over the fork's channel.
 */
import { Agent, request } from "node:http";
import { connect, type Socket } from "node:net";

export type Order =
  | { readonly kind: "stream"; readonly port: number; readonly model: string; readonly atOnce: number; readonly requests: number; readonly maxTokens: number }
  | { readonly kind: "idle"; readonly port: number; readonly connections: number };
export type Report =
  | { readonly kind: "streamed"; readonly firstMs: readonly number[]; readonly events: number; readonly failed: number }
  | { readonly kind: "idle"; readonly open: number };

const agent = new Agent({ keepAlive: true, maxSockets: Infinity });
const sockets: Socket[] = [];

function one(port: number, model: string, maxTokens: number): Promise<{ readonly firstMs: number; readonly events: number }> {
  const body = JSON.stringify({ model, stream: true, max_tokens: maxTokens, ignore_eos: true, messages: [{ role: "user", content: "Hi" }] });
  const from = performance.now();
  return new Promise((resolve, reject) => {
    const call = request({ port, agent, method: "POST", path: "/v1/chat/completions", headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) } }, (response) => {
      let firstMs = 0;
      let events = 0;
      let last = "";
      response.on("data", (bytes: Buffer) => {
        firstMs ||= performance.now() - from;
        const text = bytes.toString("latin1");
        for (let at = text.indexOf("data: "); at >= 0; at = text.indexOf("data: ", at + 6)) events += 1;
        last = (last + text).slice(-20);
      });
      response.on("end", () => { if (response.statusCode === 200 && last.includes("[DONE]")) resolve({ firstMs, events }); else reject(new Error(`${response.statusCode}: ${last}`)); });
      response.on("error", reject);
    });
    call.on("error", reject);
    call.end(body);
  });
}

async function streams({ port, model, atOnce, requests, maxTokens }: Extract<Order, { kind: "stream" }>): Promise<Report> {
  const firstMs: number[] = [];
  let [events, failed, left] = [0, 0, requests];
  await Promise.all(Array.from({ length: atOnce }, async () => {
    while (left > 0) {
      left -= 1;
      try {
        const answer = await one(port, model, maxTokens);
        firstMs.push(answer.firstMs);
        events += answer.events;
      } catch { failed += 1; }
    }
  }));
  return { kind: "streamed", firstMs, events, failed };
}

/** Keep-alive connections that have each asked once, and ask no more. @returns how many are still open after a while. */
async function idleConnections({ port, connections }: Extract<Order, { kind: "idle" }>): Promise<Report> {
  const get = "GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n";
  await Promise.all(Array.from({ length: connections }, () => new Promise<void>((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(get));
    socket.once("data", () => resolve());
    socket.once("error", reject);
    sockets.push(socket);
  })));
  return { kind: "idle", open: sockets.filter((socket) => !socket.destroyed && socket.readyState === "open").length };
}

process.on("message", (order: Order | "open" | "end") => {
  if (order === "end") { for (const socket of sockets) socket.destroy(); process.exit(0); }
  if (order === "open") { process.send?.({ kind: "idle", open: sockets.filter((socket) => socket.readyState === "open").length } satisfies Report); return; }
  const done = order.kind === "stream" ? streams(order) : idleConnections(order);
  done.then((report) => process.send?.(report), (error: unknown) => { console.error(error); process.exit(1); });
});
