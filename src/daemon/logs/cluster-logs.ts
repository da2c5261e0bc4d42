/**
 * The logs of the whole cluster as one: this machine's own files and, through their agents, every other member's. The past is put in
 * the order of time; what comes live is passed on as it comes. A member that does not answer costs one line and a short wait.
 */
import grpc from "@grpc/grpc-js";
import { sleep } from "../../core/clock.js";
import { dialTarget } from "../../core/dial.js";
import { MinidError } from "../../core/errors.js";
import { fromServiceError } from "../../core/rpc-errors.js";
import { type Transport, peerName } from "../../core/transport.js";
import type { ClusterView, MemberView } from "../cluster/contract.js";
import { type LogLine, byTime } from "./log-line.js";
import { type LogBatch, tailLogs } from "./tail.js";
import { type LogQuestion, type LogsClient, linesFromWire, logsService, questionToWire } from "./wire.js";

/** How long the past of a slow member is waited for. */
const pastTimeoutMs = 5_000;
/** Lines that wait for a slow reader; older ones are dropped then. */
const waitingMax = 20_000;

export interface ClusterLogsDeps {
  readonly home: string;
  readonly transport: Transport;
  readonly view: () => ClusterView;
}

export interface ClusterLogQuestion extends LogQuestion {
  /** Only this device's; absent: all. */
  readonly node?: string;
}

export class ClusterLogs {
  readonly #deps: ClusterLogsDeps;
  readonly #Client = logsService();

  constructor(deps: ClusterLogsDeps) { this.#deps = deps; }

  /** @throws MinidError not_found for a device that the cluster does not have. Ends when the signal aborts. */
  async *tail(question: ClusterLogQuestion, signal: AbortSignal): AsyncGenerator<LogLine> {
    const members = this.#asked(question.node);
    const ended = new AbortController();
    const stop = AbortSignal.any([signal, ended.signal]);
    const inbox = new Inbox(members.length);
    const sources = members.map((member) => this.#source(member, question, stop, inbox));
    try {
      await Promise.race([inbox.pastComplete, sleep(pastTimeoutMs, { signal: stop }).catch(() => undefined)]);
      yield* inbox.takePast().slice(-question.lines);
      if (!question.follow) return;
      while (!stop.aborted) {
        yield* inbox.takeLive();
        await inbox.more(stop);
      }
    } finally {
      ended.abort();
      await Promise.all(sources);
    }
  }

  #asked(node: string | undefined): readonly MemberView[] {
    const { members } = this.#deps.view();
    const asked = members.filter((member) => (node === undefined ? member.self || member.state === "alive" || member.state === "suspect" : nameOf(member) === node || member.nodeId === node));
    if (asked.length === 0) throw new MinidError("not_found", `There is no device ${node ?? ""} in the cluster: ${members.map(nameOf).join(", ")} are.`, { param: "node" });
    return asked;
  }

  /** Never rejects: what goes wrong is a line. */
  async #source(member: MemberView, question: ClusterLogQuestion, signal: AbortSignal, inbox: Inbox): Promise<void> {
    const device = nameOf(member);
    try {
      const batches = member.self ? tailLogs({ ...question, home: this.#deps.home, signal }) : this.#remote(member, question, signal);
      for await (const { lines, live } of batches) inbox.put(lines.map((line) => ({ ...line, device })), live);
    } catch (error) {
      if (!signal.aborted) inbox.put([{ time: new Date().toISOString(), level: "warn", process: "logs", device, message: `this machine's logs cannot be read: ${error instanceof Error ? error.message : String(error)}`, fields: {} }], false);
    }
  }

  async *#remote(member: MemberView, question: ClusterLogQuestion, signal: AbortSignal): AsyncGenerator<LogBatch> {
    const { transport } = this.#deps;
    const client = new this.#Client(dialTarget(member.agentAddresses), transport.channelCredentials(), transport.channelOptions(peerName(member.nodeId))) as grpc.Client as LogsClient;
    // Without `follow` a call that gives no end must not stay open either.
    const call = client.tail(questionToWire(question), new grpc.Metadata(), question.follow ? {} : { deadline: Date.now() + pastTimeoutMs });
    const cancel = (): void => { call.cancel(); };
    signal.addEventListener("abort", cancel, { once: true });
    try {
      for await (const message of call as AsyncIterable<Parameters<typeof linesFromWire>[0]>) yield { lines: linesFromWire(message), live: message.live };
    } catch (error) {
      if (!signal.aborted) throw fromServiceError(error as Error, "not_ready");
    } finally {
      signal.removeEventListener("abort", cancel);
      client.close();
    }
  }
}

const nameOf = (member: MemberView): string => member.facts?.deviceId ?? member.nodeId.slice(0, 8);

/** What the sources gave and the reader has not taken yet. */
class Inbox {
  readonly pastComplete: Promise<void>;
  #complete: () => void = () => undefined;
  #missing: number;
  #past: LogLine[] = [];
  #live: LogLine[] = [];
  #wake: () => void = () => undefined;

  constructor(sources: number) {
    this.#missing = sources;
    this.pastComplete = new Promise((resolve) => { this.#complete = resolve; });
  }

  put(lines: readonly LogLine[], live: boolean): void {
    if (live) this.#live.push(...lines);
    else {
      this.#past.push(...lines);
      this.#missing -= 1;
      if (this.#missing === 0) this.#complete();
    }
    if (this.#live.length > waitingMax) this.#live.splice(0, this.#live.length - waitingMax);
    this.#wake();
  }

  takePast(): LogLine[] { return this.#past.splice(0).sort(byTime); }

  /** A late member's past comes with it. */
  takeLive(): LogLine[] { return [...this.takePast(), ...this.#live.splice(0)]; }

  /** Resolves when there may be something to take. */
  async more(signal: AbortSignal): Promise<void> {
    if (this.#live.length > 0 || this.#past.length > 0 || signal.aborted) return;
    await new Promise<void>((resolve) => {
      const wake = (): void => { signal.removeEventListener("abort", wake); resolve(); };
      this.#wake = wake;
      signal.addEventListener("abort", wake, { once: true });
    });
  }
}
