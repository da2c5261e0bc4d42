/** Surfaces behind real sockets: bytes of HTTP and clients of streams that misbehave, and packets of multicast DNS. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { type Socket, connect, type AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { nodeId } from "../../../src/core/ids.js";
import { MulticastSocket, leaderName } from "../../../src/daemon/discovery/multicast.js";
import { toTxt } from "../../../src/daemon/discovery/introduction.js";
import type { Random } from "../../chaos/random.js";
import { below, mutateBytes, mutateText, mutatedJson } from "../mutate.js";
import { Fault, type Surface } from "../surface.js";
import { bodies } from "./api.js";
import { modelId, openDoor } from "./door.js";

const crlf = "\r\n";

/** A request as bytes, rarely a correct one. */
function requestBytes(random: Random): Buffer {
  const [path, body] = random.pick(bodies);
  const payload = JSON.stringify(random.chance(0.3) ? mutatedJson(random, body) : body) ?? "";
  const length = random.chance(0.8) ? Buffer.byteLength(payload) : random.pick([0, 1, -1, 5_000_000, Number.NaN]);
  const framing = random.chance(0.8) ? `content-length: ${length}` : random.pick(["transfer-encoding: chunked", `content-length: ${length}${crlf}transfer-encoding: chunked`, `content-length: 5${crlf}content-length: 6`, "expect: 100-continue", "upgrade: h2c\r\nconnection: upgrade"]);
  const head = `${random.pick(["POST", "POST", "POST", "GET", "PRI", "post", "CONNECT"])} ${random.chance(0.9) ? path : mutateText(random, path)} HTTP/${random.pick(["1.1", "1.1", "1.1", "1.0", "2.0", "9.9"])}${crlf}host: localhost${crlf}content-type: application/json${crlf}${framing}${crlf}`;
  const whole = Buffer.from(`${head}${random.chance(0.3) ? `idempotency-key: ${below(random, 9)}${crlf}` : ""}${random.chance(0.9) ? crlf : ""}${payload}`);
  return random.chance(0.6) ? mutateBytes(random, whole) : whole;
}

/** How a client behaves after it has sent: reads nothing, a little, goes away, closes its half, or sends more. */
async function behave(random: Random, socket: Socket): Promise<void> {
  switch (below(random, 5)) {
    case 0: socket.pause(); await delay(1); socket.destroy(); return;
    case 1: socket.end(); break;
    case 2: socket.resetAndDestroy(); return;
    case 3: socket.write(requestBytes(random)); break;
    default: socket.resume();
  }
  // As long as an answer here takes; a server that waits for more bytes is left waiting.
  await Promise.race([once(socket, "close").catch(() => undefined), delay(5 + below(random, 10))]);
  socket.destroy();
}

const httpBytes: Surface = {
  name: "http-bytes", about: "bytes on the API's port, and clients of streams that read nothing, stop, reset or talk on", cases: 8_000, slice: 25,
  open: async () => {
    const { server, bugs } = await openDoor({ receiveTimeoutMs: 2_000, keepAliveMs: 50 });
    await server.listen({ host: "127.0.0.1", port: 0 });
    const { port } = server.server.address() as AddressInfo;
    let count = 0;
    return {
      run: async (random) => {
        const socket = connect(port, "127.0.0.1");
        socket.on("error", () => undefined);
        await once(socket, "connect").catch(() => undefined);
        const sent = requestBytes(random);
        const cut = random.chance(0.3) ? below(random, sent.length + 1) : sent.length;
        socket.write(sent.subarray(0, cut));
        if (cut < sent.length && random.chance(0.5)) socket.write(sent.subarray(cut));
        await behave(random, socket);
        if (bugs.length > 0) throw new Fault(bugs.splice(0).join("\n"));
        if (count++ % 250 !== 249) return;
        const response = await fetch(`http://127.0.0.1:${port}/v1/chat/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ model: modelId, messages: [{ role: "user", content: "Hi" }], max_tokens: 3 }) });
        if (!response.ok) throw new Fault(`an ordinary request was answered with ${response.status}`);
      },
      close: async () => { server.server.closeAllConnections(); await server.close(); },
    };
  },
};

const types = { A: 1, PTR: 12, TXT: 16, SRV: 33, ANY: 255 } as const;
interface DnsRecord { readonly name: string; readonly type: keyof typeof types; readonly ttl?: number; readonly data?: Buffer }

const u16 = (...values: readonly number[]): Buffer => Buffer.concat(values.map((value) => { const two = Buffer.alloc(2); two.writeUInt16BE(value); return two; }));
const dnsName = (name: string): Buffer => Buffer.concat([...name.split(".").map((label) => Buffer.concat([Buffer.of(label.length), Buffer.from(label)])), Buffer.of(0)]);
const dnsTexts = (texts: readonly string[]): Buffer => Buffer.concat(texts.map((line) => Buffer.concat([Buffer.of(line.length), Buffer.from(line)])));

/** RFC 1035, 4.1. Records with data are answers, the others questions. */
function dnsPacket(records: readonly DnsRecord[]): Buffer {
  const questions = records.filter(({ data }) => data === undefined);
  const answers = records.flatMap(({ data, ...record }) => (data ? [{ ...record, data }] : []));
  return Buffer.concat([
    u16(0, answers.length > 0 ? 0x8400 : 0, questions.length, answers.length, 0, 0),
    ...questions.map(({ name, type }) => Buffer.concat([dnsName(name), u16(types[type], 1)])),
    ...answers.map(({ name, type, ttl = 0, data }) => Buffer.concat([dnsName(name), u16(types[type], 1, 0, ttl, data.length), data])),
  ]);
}

const mdnsPacket: Surface = {
  name: "mdns-packet", about: "datagrams on the port of multicast DNS: announcements, questions, and damaged ones", cases: 20_000, slice: 100,
  open: async () => {
    const self = { nodeId: nodeId("a".repeat(32)), clusterId: "c".repeat(32), clusterName: "home", incarnation: "1", version: "1", httpPort: 8_100, grpcPort: 50_050 };
    const free = createSocket("udp4").bind(0, "127.0.0.1");
    await once(free, "listening");
    const { port } = free.address();
    await new Promise<void>((resolve) => { free.close(() => resolve()); });
    let failure: Error | undefined;
    const socket = new MulticastSocket({ address: "127.0.0.1", port }, self, { onIntroduction: () => undefined, onFailure: (error) => { failure = error; }, onWarning: () => undefined });
    socket.setLeader(true);
    const sender = createSocket("udp4");
    const service = "_minid._tcp.local";
    const name = `${"b".repeat(32)}.${service}`;
    const txt = Object.entries(toTxt({ ...self, nodeId: nodeId("b".repeat(32)) })).map(([key, value]) => `${key}=${value}`);
    const sound = [
      dnsPacket([{ name: service, type: "PTR", ttl: 120, data: dnsName(name) }, { name, type: "SRV", ttl: 120, data: Buffer.concat([u16(0, 0, 50_050), dnsName("b.local")]) }, { name, type: "TXT", ttl: 120, data: dnsTexts(txt) }, { name: "b.local", type: "A", ttl: 120, data: Buffer.of(10, 0, 0, 2) }]),
      dnsPacket([{ name: service, type: "PTR" }]),
      dnsPacket([{ name: leaderName, type: "A" }, { name, type: "ANY" }]),
      dnsPacket([{ name: service, type: "PTR", ttl: 0, data: dnsName(name) }, { name, type: "TXT", ttl: 120, data: dnsTexts(txt) }]),
    ];
    let count = 0;
    return {
      run: async (random) => {
        const packet = mutateBytes(random, random.pick(sound)).subarray(0, 9_000);
        await new Promise<void>((resolve) => { sender.send(packet, port, "127.0.0.1", () => resolve()); });
        // Its turn to read.
        if (count++ % 16 === 15) await delay(1);
        if (failure) throw new Fault(`the socket failed: ${failure.stack ?? failure.message}`);
      },
      close: async () => { sender.close(); await socket.close(); },
    };
  },
};

export const networkSurfaces: readonly Surface[] = [httpBytes, mdnsPacket];
