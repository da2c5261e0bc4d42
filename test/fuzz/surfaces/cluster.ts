/** What members and would-be members send, and what a node reads of its own home: parsers and pure cores. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { readDurableSync } from "../../../src/core/durable-file.js";
import { nodeId } from "../../../src/core/ids.js";
import { TrustSet, trustRecordSchema } from "../../../src/core/trust/records.js";
import { AnswerLedger, defaultLedgerLimits } from "../../../src/daemon/answers/ledger.js";
import { answersService, claimFromWire, updateFromWire, verdictFromWire, verdictToWire, type WireClaim, type WireRecords } from "../../../src/daemon/answers/wire.js";
import { parseMessage } from "../../../src/daemon/cluster/message-schema.js";
import { loadConfig } from "../../../src/daemon/config/load.js";
import { environmentName, settingKeys } from "../../../src/daemon/config/table.js";
import { fromTxt, toTxt } from "../../../src/daemon/discovery/introduction.js";
import { agentService, eventFromWire, requestFromWire, type GenerateCall, type GenerateUpdate } from "../../../src/daemon/inference/generate-wire.js";
import { decodeRecords } from "../../../src/daemon/security/exchange.js";
import { decodeToken, encodeToken, newSecret } from "../../../src/daemon/security/token.js";
import type { Random } from "../../chaos/random.js";
import { TestNode, facts, id } from "../../unit/daemon/cluster/make.js";
import { below, bytes, mutateBytes, mutateText, mutatedJson, mutatedJsonText, number, strangeValue, text } from "../mutate.js";
import { Fault, type Surface, refusalOrResult } from "../surface.js";

const hex = (letter: string, count: number) => letter.repeat(count);
const epoch = { counter: 3, nodeId: id("b") };

const joinToken: Surface = {
  name: "join-token", about: "join tokens: mutated lines, and sound ones with hostile content", cases: 350_000, slice: 400,
  open: () => {
    const secret = newSecret();
    const line = encodeToken({ clusterId: hex("a", 32), caSha256: hex("b", 64), secret, expiresAtMs: 1_800_000_000_000, hints: ["10.0.0.1:50050", "mini.local:50050"] });
    return {
      run: (random) => {
        if (random.chance(0.2)) {
          const hints = Array.from({ length: below(random, 4) }, () => text(random).replaceAll(",", ""));
          const made = decodeToken(encodeToken({ clusterId: hex("a", 32), caSha256: hex("b", 64), secret, expiresAtMs: below(random, 2 ** 32) * 1_000, hints }));
          if (made.clusterId !== hex("a", 32)) throw new Fault("a sound token does not come back");
          return;
        }
        const changed = random.chance(0.5) ? mutateText(random, line) : mutateBytes(random, Buffer.from(line)).toString("latin1");
        const decoded = refusalOrResult(() => decodeToken(changed));
        if (decoded && changed.trim() !== line && !Buffer.from(changed.trim().slice(7), "base64url").equals(Buffer.from(line.slice(7), "base64url"))) throw new Fault(`a changed token was accepted: ${JSON.stringify(changed)}`);
      },
    };
  },
};

/** Messages of every kind, as a sound member sends them. */
const nodeFacts = facts("mini2", { worker: { ...facts("x").worker, loaded: { epoch, planVersion: 1, layers: { first: 0, end: 12 } } } });
const envelope = { clusterId: "cluster", clusterName: "home", protocol: nodeFacts.protocol, incarnation: 1, seq: 1 };
const row = { id: id("c"), incarnation: 1, seq: 4, ageMs: 10, state: "alive", hops: 0, factsVersion: 1, leads: epoch };
const plan = {
  epoch, version: 1, model: { modelId: "model", layerCount: 12, layerBytes: 1e8, embedBytes: 2e8, headBytes: 2e8, tied: true, kvBytesPerTokenLayer: 1_000, contextMax: 2_048 },
  slots: 4, contextMax: 2_048, batchMax: 4, kvTokensMax: 9_000, stepMs: 4, why: "test",
  ranks: [{ rank: 0, nodeId: id("b"), deviceId: "mini2", layers: { first: 0, end: 6 }, ownsText: true, workerAddresses: ["b:50051"], weightBytes: 1e9, kvBytesMax: 1e8, stepMs: 4 }, { rank: 1, nodeId: id("a"), deviceId: "mini1", layers: { first: 6, end: 12 }, ownsText: false, workerAddresses: ["a:50051"], weightBytes: 1e9, kvBytesMax: 1e8, stepMs: 4 }],
};
const messages: readonly object[] = [
  { type: "heartbeat", ...envelope, wallMs: 1.7e12, leads: epoch, plan: { epoch, version: 1 }, facts: nodeFacts, factsVersion: 1, rows: [row], relayed: [{ id: id("c"), incarnation: 1, facts: facts("mini3") }], forgotten: [id("d")] },
  { type: "heartbeat", ...envelope, wallMs: 1.7e12, factsVersion: 1, rows: [row, { ...row, id: id("a"), state: "suspect" }, { ...row, id: id("d"), state: "dead" }], forgotten: [] },
  { type: "plan", ...envelope, plan },
  { type: "probe", ...envelope, origin: id("c") },
  { type: "probe-ack", ...envelope, origin: id("a"), echoIncarnation: 1, echo: 1, leads: epoch },
  { type: "probe-request", ...envelope, target: id("c") },
  { type: "probe-report", ...envelope, row },
  { type: "leave", ...envelope },
];

const clusterMessage: Surface = {
  name: "cluster-message", about: "heartbeats, plans and probes of hostile members, put into a living cluster core", cases: 60_000, slice: 300,
  open: () => {
    let node = new TestNode();
    let put = 0;
    return {
      run: (random) => {
        // A fresh one now and then, so that a case can be replayed with few before it.
        if (put++ % 50 === 0) node = new TestNode();
        const message = parseMessage(safe(mutatedJsonText(random, random.pick(messages))));
        if (message) node.put({ kind: "message", from: id(random.pick(["b", "c", "d"])), message: random.chance(0.7) ? { ...message, clusterId: "cluster", incarnation: 1 + below(random, 3), seq: put } : message });
        if (random.chance(0.3)) node.pass(random.pick([250, 500, 4_500]));
        if (random.chance(0.2)) node.view();
        node.effects.length = 0;
      },
    };
  },
};

const safe = (json: string): unknown => { try { return JSON.parse(json); } catch { return undefined; } };

const trustRecords: Surface = {
  name: "trust-records", about: "membership records of hostile members, merged into a node's set", cases: 120_000, slice: 300,
  open: () => {
    const by = id("a");
    const records: readonly object[] = [
      { kind: "member", nodeId: id("b"), keySha256: hex("1", 64), deviceId: "mini2", by, atMs: 1 }, { kind: "forgotten", nodeId: id("c"), by, atMs: 1 },
      { kind: "token", tokenId: hex("2", 16), verifier: hex("3", 64), once: true, createdAtMs: 1, expiresAtMs: 2, by }, { kind: "token-end", tokenId: hex("2", 16), reason: "used", usedBy: id("b"), expiresAtMs: 2, by, atMs: 1 },
      { kind: "key", keyId: hex("4", 16), verifier: hex("5", 64), name: "k", scopes: ["inference"], createdAtMs: 1, by }, { kind: "key-end", keyId: hex("4", 16), by, atMs: 2 },
    ];
    let set = new TrustSet([]);
    let count = 0;
    return {
      run: (random) => {
        if (count++ % 200 === 0) set = new TrustSet([]);
        const list = Array.from({ length: 1 + below(random, 3) }, () => (random.chance(0.7) ? mutatedJsonText(random, random.pick(records)) : text(random)));
        for (const record of refusalOrResult(() => decodeRecords({ records: list })) ?? []) {
          if (!trustRecordSchema.safeParse(record).success) throw new Fault("a record was taken that its own schema refuses");
          set = refusalOrResult(() => set.with([record])) ?? set;
        }
        if (set.isMember(id("f"), hex("1", 64))) throw new Fault("a record admitted another node");
      },
    };
  },
};

const config: Surface = {
  name: "config", about: "configuration files, environment and flags", cases: 10_000, slice: 60,
  open: () => {
    const home = mkdtempSync(join(tmpdir(), "minid-fuzz-"));
    const file = join(home, "config.json");
    const sound = { device_id: "mini1", http_port: 8_100, devices: [{ device_id: "mini2", hostname: "mini2.local", port: 50_051 }], engine: "onnx", threads: 2, mdns: true, suspect_after_ms: 2_000, dead_after_ms: 4_000, log_level: "info" };
    return {
      run: (random) => {
        writeFileSync(file, random.chance(0.1) ? bytes(random, below(random, 200)) : mutatedJsonText(random, sound));
        const environment = random.chance(0.4) ? { [environmentName(random.pick(settingKeys))]: random.chance(0.5) ? text(random) : String(number(random)) } : {};
        const flags = random.chance(0.3) ? { [random.pick(settingKeys)]: text(random) } : {};
        const loaded = refusalOrResult(() => loadConfig({ home, environment, flags }));
        if (loaded && (!Number.isInteger(loaded.http_port) || loaded.dead_after_ms <= loaded.suspect_after_ms)) throw new Fault("a configuration was taken that breaks its own rules");
      },
      close: () => { rmSync(home, { recursive: true, force: true }); },
    };
  },
};

const durable: Surface = {
  name: "state-file", about: "the home's state files: truncated, flipped, rewritten", cases: 15_000, slice: 60,
  open: () => {
    const home = mkdtempSync(join(tmpdir(), "minid-fuzz-"));
    const file = join(home, "state.json");
    const schema = z.object({ incarnation: z.int(), names: z.array(z.string()) });
    const value = { incarnation: 7, names: ["a", "b"] };
    const body = JSON.stringify(value);
    const whole = Buffer.from(`{"sha256":"${createHash("sha256").update(body).digest("hex")}","value":${body}}\n`);
    return {
      run: (random) => {
        writeFileSync(file, mutateBytes(random, whole));
        const read = refusalOrResult(() => readDurableSync(file, schema));
        if (read && JSON.stringify(read) !== body) throw new Fault(`a damaged file was read as ${JSON.stringify(read)}`);
      },
      close: () => { rmSync(home, { recursive: true, force: true }); },
    };
  },
};

const mdnsText: Surface = {
  name: "mdns-txt", about: "the TXT records of announcements", cases: 280_000, slice: 300,
  open: () => {
    const sound = Object.entries(toTxt({ nodeId: id("b"), clusterId: hex("c", 32), clusterName: "home", incarnation: "5", version: "1", httpPort: 8_100, grpcPort: 50_050 })).map(([key, value]) => `${key}=${value}`);
    return {
      run: (random) => {
        const strings = sound.map((line) => (random.chance(0.3) ? mutateText(random, line) : line)).filter(() => random.chance(0.95));
        const found = fromTxt(random.chance(0.1) ? [text(random), ...strings, text(random)] : strings, "10.0.0.9");
        if (found && (!/^[0-9a-f]{32}$/u.test(found.nodeId ?? "") || !/^10\.0\.0\.9:\d{1,5}$/u.test(found.address))) throw new Fault(`an introduction of ${found.nodeId} at ${found.address}`);
      },
    };
  },
};

/** A method's own decoder, as gRPC runs it, over mutated bytes of a sound message. */
function decoderOf(service: ReturnType<typeof answersService>, method: string, side: "request" | "response") {
  const { requestSerialize, requestDeserialize, responseSerialize, responseDeserialize } = service.service[method]!;
  return side === "request" ? { encode: requestSerialize, decode: requestDeserialize } : { encode: responseSerialize, decode: responseDeserialize };
}

const rpcMessages: Surface = {
  name: "rpc-message", about: "protobuf of Generate, Claim and Keep: damaged bytes, and sound ones with hostile content", cases: 80_000, slice: 300,
  open: () => {
    const generate = decoderOf(agentService(), "Generate", "request");
    const updates = decoderOf(agentService(), "Generate", "response");
    const claim = decoderOf(answersService(), "Claim", "request");
    const keep = decoderOf(answersService(), "Keep", "request");
    const call = { epoch, requestId: "r", modelId: "m", prompt: [1, 2, 3], emitted: [4], sampling: { temperature: 1, topK: 0, topP: 1, seed: 5, logitBias: { 3: 1 }, logprobs: true }, maxTokens: 10, stopTokens: [2], deadlineMs: 1_000, priority: "PRIORITY_BATCH", claim: epoch };
    const update = { tokens: { firstIndex: 0, tokens: [5, 6], logprobs: [{ logprob: -1, top: [{ token: 1, logprob: -2 }] }] } };
    const claimed = { key: hex("a", 64), digest: hex("b", 64), claim: epoch };
    const records = { records: [{ ...claimed, head: { created: 5, fingerprint: "f", context: "[]" }, logs: [{ requestId: "r", tokens: update.tokens, cachedPromptTokens: 3, finished: "stop" }] }] };
    let ledger = new AnswerLedger({ ...defaultLedgerLimits, recordsMax: 20 });
    let count = 0;
    const decoded = (random: Random, { encode, decode }: ReturnType<typeof decoderOf>, sound: object): unknown => {
      let encoded: Buffer;
      // What cannot be encoded cannot be sent.
      try { encoded = encode(random.chance(0.6) ? mutatedJson(random, sound) : sound); } catch { encoded = encode(sound); }
      if (random.chance(0.5)) encoded = mutateBytes(random, encoded);
      // gRPC answers such bytes itself.
      try { return decode(encoded); } catch { return undefined; }
    };
    return {
      run: (random) => {
        if (count++ % 500 === 0) ledger = new AnswerLedger({ ...defaultLedgerLimits, recordsMax: 20 });
        switch (below(random, 4)) {
          case 0: {
            const message = decoded(random, generate, call) as GenerateCall | undefined;
            if (message) refusalOrResult(() => requestFromWire(message));
            break;
          }
          case 1: {
            const message = decoded(random, updates, update) as GenerateUpdate | undefined;
            if (message) refusalOrResult(() => eventFromWire(message));
            break;
          }
          case 2: {
            const message = decoded(random, claim, claimed) as WireClaim | undefined;
            if (message) refusalOrResult(() => verdictFromWire(verdictToWire(ledger.claim(claimFromWire(message), count))));
            break;
          }
          default: {
            const message = decoded(random, keep, records) as WireRecords | undefined;
            if (message) for (const record of message.records) refusalOrResult(() => ledger.keep(updateFromWire(record), count));
          }
        }
        if (ledger.size > 20) throw new Fault(`the ledger holds ${ledger.size} records`);
        if (!(ledger.bytes >= 0)) throw new Fault(`the ledger counts ${ledger.bytes} bytes`);
      },
    };
  },
};

const memberIds: Surface = {
  name: "peer-value", about: "the cluster's message schema over values that no JSON holds", cases: 60_000, slice: 100,
  open: () => ({
    run: (random) => {
      const message = parseMessage({ ...(random.pick(messages) as Record<string, unknown>), [random.pick(["rows", "facts", "plan", "origin", "type", "protocol", "seq"])]: random.chance(0.2) ? random.pick([() => undefined, () => Number.NaN, () => Infinity, () => nodeId("\0"), () => safe(text(random))])() : strangeValue(random) });
      if (message && !Number.isSafeInteger(message.seq)) throw new Fault(`a message with the number ${message.seq} was taken`);
    },
  }),
};

export const clusterSurfaces: readonly Surface[] = [joinToken, clusterMessage, trustRecords, config, durable, mdnsText, rpcMessages, memberIds];
