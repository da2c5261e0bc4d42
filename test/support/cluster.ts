/**
 * Real nodes on this machine, for tests, the demo and the chaos suite:
 *
 *   const cluster = await startCluster({ nodes: 2 });
 *   try {
 *     const answer = await cluster.nodes[1]!.ask({ prompt: "Tell me a story.", maxTokens: 64 });
 *     await cluster.nodes[0]!.kill("worker");
 *     await cluster.ready();
 *   } finally { await cluster.stop(); }
 *
 * Each node is `minid up` with a home, ports and processes of its own on 127.0.0.1, found through its join token and not by
 * multicast. Waits are for conditions. `stop()` leaves no process and no file behind; MINID_KEEP=1 keeps the homes for reading.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { isAlive, killProcess, processStartTime, type ProcessIdentity } from "../../src/core/process-identity.js";
import { readRunFile, type Role } from "../../src/core/run-file.js";
import type { StatusSnapshot } from "../../src/daemon/status.js";
import { type Answer, ask, type Question } from "./answer.js";
import { linkModel, mountSmallDisk, unmountSmallDisk } from "./disks.js";
import { freePorts } from "./ports.js";
import { Hopeless, until } from "./wait.js";

const run = promisify(execFile);

export type Part = "agent" | "worker" | "pm2" | "node";

export interface ClusterOptions {
  readonly nodes: number;
  /** How many of them are started; default all. The others wait for `start(token)`. */
  readonly start?: number;
  /** Id or directory; default: the embedded model. */
  readonly model?: string;
  /** Flags of `minid up` for every node, without the dashes: `{ threads: 1 }`. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
  /** More flags for one node, by index. */
  readonly settingsOf?: (index: number) => Readonly<Record<string, string | number | boolean>>;
  /** Every home on a small disk of its own, and the model's files in a directory of the node's own, so that disks can fail. Linux and root. */
  readonly ownDisks?: boolean;
  /** The checkout whose dist/ runs; default: the working directory. */
  readonly root?: string;
  /** Another checkout for one node, by index. */
  readonly rootOf?: (index: number) => string;
  readonly readyTimeoutMs?: number;
  /** Told what happens, one line each. */
  readonly onProgress?: (line: string) => void;
}

const embeddedModel = "SmolLM2-135M-Instruct-8bit";
const diskMegabytes = 48;
export const readyTimeoutDefaultMs = 120_000;
/** More than any drain that a test sets, and pm2's own margin. */
const stopTimeoutMs = 180_000;

export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const root = options.root ?? process.cwd();
  const scratch = realpathSync(mkdtempSync(join(tmpdir(), "minid-cluster-")));
  const ports = await freePorts(3 * options.nodes);
  const nodes = Array.from({ length: options.nodes }, (_, index) => new ClusterNode({
    name: `node${index + 1}`, home: join(scratch, `node${index + 1}`), root: options.rootOf?.(index) ?? root,
    httpPort: ports[3 * index]!, agentPort: ports[3 * index + 1]!, workerPort: ports[3 * index + 2]!,
    settings: { ...(options.model === undefined ? {} : { model: options.model }), ...options.settings, ...options.settingsOf?.(index) },
    ...(options.ownDisks ? { modelFrom: options.model ?? join(root, "models", embeddedModel) } : {}),
  }));
  const cluster = new Cluster(nodes, scratch, options);
  try {
    const [founder, ...others] = nodes;
    if (!founder) throw new Error("a cluster has at least one node");
    founder.start();
    const joining = others.slice(0, (options.start ?? options.nodes) - 1);
    if (joining.length > 0) {
      await founder.listening();
      for (const node of joining) node.start(await founder.token());
    }
    await cluster.ready();
    return cluster;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const logs = nodes.map((node) => node.lastWords()).join("\n");
    await cluster.stop();
    throw new Error(`the cluster did not start: ${reason}\n${logs}`, { cause: error });
  }
}

export class Cluster {
  readonly nodes: readonly ClusterNode[];
  readonly scratch: string;
  readonly #options: ClusterOptions;

  constructor(nodes: readonly ClusterNode[], scratch: string, options: ClusterOptions) {
    this.nodes = nodes;
    this.scratch = scratch;
    this.#options = options;
  }

  /** The first node founds the cluster, the others join it. @throws with what every node said last. */
  async start(): Promise<void> {
    const [founder, ...others] = this.nodes;
    if (!founder) throw new Error("a cluster has at least one node");
    try {
      founder.start();
      if (others.length > 0) {
        await founder.listening();
        for (const node of others) node.start(await founder.token());
      }
      await this.ready();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`the cluster did not start: ${reason}\n${this.nodes.map((node) => node.lastWords()).join("\n")}`, { cause: error });
    }
  }

  /** Waits until all running nodes agree on a ready ring of exactly them. @returns rank 0's node. */
  async ready(timeoutMs = this.#options.readyTimeoutMs ?? readyTimeoutDefaultMs): Promise<ClusterNode> {
    const running = this.nodes.filter((node) => node.running);
    return await until(`${running.length} nodes ready`, async () => {
      const ended = running.find((node) => !node.running);
      if (ended) throw new Hopeless(`${ended.name} ended while it was waited for`);
      const statuses = await Promise.all(running.map((node) => node.status()));
      const agreed = statuses.every((status) => status.ready && status.world_size === running.length && status.epoch?.counter === statuses[0]?.epoch?.counter && status.plan?.version === statuses[0]?.plan?.version);
      return agreed ? running.find((_, index) => statuses[index]?.role === "leader") : undefined;
    }, timeoutMs);
  }

  /** Rank 0's node, as a running node says. */
  async leader(): Promise<ClusterNode> {
    return await until("a leader", async () => {
      for (const node of this.nodes.filter(({ running }) => running)) {
        const leader = (await node.status().catch(() => undefined))?.leader?.device_id;
        const found = this.nodes.find(({ name, running }) => running && name === leader);
        if (found) return found;
      }
      return undefined;
    });
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()));
    for (const { modelDirectory, home } of this.nodes) if (modelDirectory !== undefined) unmountSmallDisk(home);
    if (process.env["MINID_KEEP"] === undefined) rmSync(this.scratch, { recursive: true, force: true });
  }
}

export interface NodeSetup {
  readonly name: string;
  readonly home: string;
  readonly root: string;
  readonly httpPort: number;
  readonly agentPort: number;
  readonly workerPort: number;
  /** Flags of `minid up`; undefined takes away what a test's node is given by default. */
  readonly settings: Readonly<Record<string, string | number | boolean | undefined>>;
  /** Where its HTTP API is reached; default: its port on 127.0.0.1. */
  readonly url?: string;
  /** The node has a small disk of its own, and a copy of this model directory beside it. */
  readonly modelFrom?: string;
  /** Put before the command, to run it somewhere else: `["ip", "netns", "exec", "a"]`. */
  readonly prefix?: readonly string[];
}

const outputBytesMax = 16_384;

export class ClusterNode {
  readonly name: string;
  readonly home: string;
  readonly url: string;
  readonly setup: NodeSetup;
  /** With a disk of its own: the model's files that this node reads. */
  readonly modelDirectory: string | undefined;
  #up: ChildProcess | undefined;
  #output = "";
  /** Every process that this node has ever been seen to run. */
  readonly #seen = new Map<string, ProcessIdentity>();

  constructor(setup: NodeSetup) {
    this.setup = setup;
    this.name = setup.name;
    this.home = setup.home;
    this.modelDirectory = setup.modelFrom === undefined ? undefined : join(`${setup.home}-model`, basename(setup.modelFrom));
    if (setup.modelFrom !== undefined && this.modelDirectory !== undefined) {
      linkModel(setup.modelFrom, this.modelDirectory);
      mountSmallDisk(setup.home, diskMegabytes);
    }
    this.url = setup.url ?? `http://127.0.0.1:${setup.httpPort}`;
  }

  /** `minid up` has been started and not ended. */
  get running(): boolean { return this.#up !== undefined && this.#up.exitCode === null && this.#up.signalCode === null; }

  /** What `minid up` has printed since its last start. */
  get output(): string { return this.#output; }

  /** Starts `minid up`; again after a stop or a kill, in the same home. Does not wait. */
  start(joinToken?: string): void {
    const { setup } = this;
    const settings = {
      "device-id": setup.name, "http-port": setup.httpPort, "agent-port": setup.agentPort, "worker-port": setup.workerPort,
      "http-host": "127.0.0.1", "grpc-host": "127.0.0.1", "advertise-host": "127.0.0.1", mdns: false, ...setup.settings, ...(this.modelDirectory === undefined ? {} : { model: this.modelDirectory }),
    };
    const flags = Object.entries(settings).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`, String(value)]));
    const command = [...(setup.prefix ?? []), process.execPath, this.#cli, "up", "--home", this.home, ...flags, ...(joinToken === undefined ? [] : ["--join", joinToken])];
    this.#output = "";
    const child = spawn(command[0]!, command.slice(1), { cwd: setup.root, stdio: ["ignore", "pipe", "pipe"], env: this.#environment });
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes: Buffer) => { this.#output = (this.#output + bytes.toString()).slice(-outputBytesMax); });
    this.#up = child;
  }

  /** Its agent serves. */
  async listening(): Promise<void> {
    await until(`${this.name} listens`, async () => {
      if (!this.running) throw new Hopeless(`${this.name} ended: ${this.#output}`);
      return (await fetch(`${this.url}/health/live`, { signal: AbortSignal.timeout(2_000) })).ok;
    }, readyTimeoutDefaultMs);
  }

  /** A join token, as `minid token` prints it. */
  async token(): Promise<string> {
    const { stdout } = await this.cli("token");
    return stdout.trim();
  }

  /** Runs a command of the CLI against this node's home. @throws when it exits with another code than 0. */
  async cli(command: string, ...args: string[]): Promise<{ stdout: string; stderr: string }> {
    const [program, ...rest] = [...(this.setup.prefix ?? []), process.execPath, this.#cli, command, "--home", this.home, ...args];
    return await run(program!, rest, { cwd: this.setup.root, env: this.#environment });
  }

  async status(): Promise<StatusSnapshot> {
    const response = await fetch(`${this.url}/distributed/status`, { signal: AbortSignal.timeout(2_000) });
    const status = await response.json() as StatusSnapshot;
    this.#see();
    return status;
  }

  async ask(question: Question, options: { readonly onText?: (count: number, piece: string) => void; readonly signal?: AbortSignal } = {}): Promise<Answer> {
    const model = (await this.status()).model.id;
    return await ask(this.url, model, question, options);
  }

  /** The pid that /distributed/status gives, else the run file's: a frozen agent answers nothing. */
  async pid(part: "agent" | "worker"): Promise<number> {
    const self = (await this.status().catch(() => undefined))?.devices.find((device) => device.self);
    const pid = self?.[part]?.pid ?? readRunFile(this.home, part)?.pid;
    if (pid === undefined) throw new Error(`${this.name} has no ${part}`);
    return pid;
  }

  /**
   * Sends a signal by pid. `node` is the whole machine at once: `minid up`, pm2, agent and worker.
   * @returns the processes that got it.
   */
  async signal(part: Part, signal: "SIGKILL" | "SIGSTOP" | "SIGCONT" | "SIGTERM" | "SIGABRT"): Promise<ProcessIdentity[]> {
    this.#see();
    const roles: Role[] = part === "node" ? ["pm2", "agent", "worker", "standby"] : [part];
    const targets = roles.flatMap((role) => this.#process(role) ?? []);
    if (targets.length === 0 && (part === "agent" || part === "worker")) {
      // Its files cannot be read: by what its agent says of it.
      const pid = await this.pid(part).catch(() => 0);
      if (pid > 0) targets.push({ pid, startTime: processStartTime(pid) });
    }
    if (part === "node" && this.#up?.pid !== undefined && this.running) targets.unshift({ pid: this.#up.pid, startTime: processStartTime(this.#up.pid) });
    return targets.filter((target) => killProcess(target, signal));
  }

  /** Its living processes, by what they are: `up` is `minid up` itself. */
  processes(): ReadonlyMap<Role | "up", ProcessIdentity> {
    const found = new Map<Role | "up", ProcessIdentity>();
    if (this.#up?.pid !== undefined && this.running) found.set("up", { pid: this.#up.pid, startTime: processStartTime(this.#up.pid) });
    for (const role of ["pm2", "agent", "worker", "standby"] as const) {
      const process = this.#process(role);
      if (process && isAlive(process)) found.set(role, process);
    }
    return found;
  }

  async kill(part: Part): Promise<void> {
    const killed = await this.signal(part, "SIGKILL");
    await until(`${part} of ${this.name} is dead`, () => !killed.some(isAlive));
    if (part === "node") await this.#ended();
  }

  /** SIGTERM to `minid up`, as Ctrl-C would; SIGKILL for whatever is left. @returns its exit code. */
  async stop(): Promise<number> {
    this.#see();
    await this.signal("node", "SIGCONT");
    if (this.running) this.#up?.kill("SIGTERM");
    const code = await this.#ended();
    this.#see();
    for (const process of this.#seen.values()) killProcess(process);
    await until(`${this.name} leaves no process behind`, () => ![...this.#seen.values()].some(isAlive));
    return code;
  }

  /** For the message of a failed test. */
  lastWords(): string {
    const tail = (file: string) => { try { return readFileSync(join(this.home, "logs", file), "utf8").split("\n").slice(-8).join("\n"); } catch { return "(none)"; } };
    return `--- ${this.name} (${this.home})\n${this.#output}\n--- agent.log\n${tail("agent.log")}\n--- worker.log\n${tail("worker.log")}`;
  }

  async #ended(): Promise<number> {
    const child = this.#up;
    if (!child) return 0;
    const timer = setTimeout(() => child.kill("SIGKILL"), stopTimeoutMs);
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    clearTimeout(timer);
    return child.exitCode ?? 137;
  }

  /** The run file's process; a worker or agent that has not announced itself yet by the pid file that pm2 keeps. */
  #process(role: Role): ProcessIdentity | undefined {
    const announced = readRunFile(this.home, role);
    if (role === "pm2" || role === "standby" || (announced && isAlive(announced))) return announced;
    const directory = join(this.home, "pm2", "pids");
    let pid = 0;
    try {
      const file = readdirSync(directory).find((name) => name.startsWith(`minid-${role}-`));
      if (file !== undefined) pid = Number(readFileSync(join(directory, file), "utf8"));
    } catch { /* There is none, or its disk does not read. */ }
    const startTime = processStartTime(pid);
    return startTime === "" ? announced : { pid, startTime };
  }

  #see(): void {
    for (const role of ["pm2", "agent", "worker", "standby"] as const) {
      const found = this.#process(role);
      if (found) this.#seen.set(`${found.pid} ${found.startTime}`, found);
    }
  }

  get #cli(): string { return join(this.setup.root, "dist", "cli", "main.js"); }

  get #environment(): NodeJS.ProcessEnv {
    // Settings of the tests' own surroundings must not leak into nodes.
    return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("MINID_") && name !== "LOCAL_RANK" && name !== "DISTRIBUTED_CONFIG" && !name.startsWith("VITEST")));
  }
}
