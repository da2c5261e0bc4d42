/**
 * The chaos run: real nodes, concurrent streams, random faults at random moments, now and then in the middle of the recovery from
 * another. Whatever happens, every answer must be the undisturbed one. Ends with a cluster that is whole again.
 */
import { loadavg } from "node:os";
import type { Question } from "../support/answer.js";
import { type Cluster, type ClusterNode, startCluster } from "../support/cluster.js";
import { type NetworkCluster, startNetworkCluster } from "../support/netns-cluster.js";
import { type Fault, type FaultName, candidates, faults } from "./faults.js";
import { questions } from "./questions.js";
import { Random } from "./random.js";
import { type StreamFailure, Streams, type Undisturbed, type Watch, goesOn, interruptions } from "./streams.js";

export interface ChaosOptions {
  readonly seed: number;
  readonly nodes: number;
  readonly streams: number;
  /** Ends after so many faults, or so much time, whichever comes first. */
  readonly faultsMax: number;
  readonly minutesMax: number;
  readonly kinds: readonly FaultName[];
  /**
   * Milliseconds from the moment when every stream goes on again to the next fault, at random in between; a quarter of the faults strike
   * within 1.5 s of the one before instead, whatever has been repaired by then.
   */
  readonly pauseMs?: readonly [number, number];
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
  /** The checkout whose dist/ runs; default: the working directory. */
  readonly root?: string;
  readonly questions?: readonly Question[];
  /** Each node in a network namespace of its own, so that links can be cut. Linux and root. */
  readonly network?: boolean;
  /** Each node with disks of its own, so that they can fail. Linux and root. */
  readonly ownDisks?: boolean;
  /** Which faults may strike which node, by index; default: all of them all. */
  readonly mayStrike?: (fault: FaultName, node: number) => boolean;
  /** `pauseMs` counts from one fault to the next, whatever a recovery takes, and none follows sooner. */
  readonly steady?: boolean;
  /** Called when the streams begin. @returns called when they have ended and the cluster is whole again. */
  readonly observe?: (cluster: Cluster, streams: Streams) => () => Promise<void>;
  /** Ends the faults early; the report tells of those that were. */
  readonly signal?: AbortSignal;
  readonly onLine: (line: string) => void;
}

export interface FaultRecord {
  readonly fault: FaultName;
  readonly node: string;
  readonly leader: boolean;
  /** Streams that were producing text when it struck. */
  readonly open: number;
  /** Of those, how many did not go down with their own front door. */
  survived: number;
  /** Until each went on that was interrupted, milliseconds, shortest first. */
  interruptions: readonly number[];
}

export interface ChaosReport {
  readonly options: Omit<ChaosOptions, "onLine" | "signal" | "mayStrike" | "observe">;
  readonly faults: readonly FaultRecord[];
  readonly completed: number;
  readonly tokens: number;
  readonly cutOff: number;
  readonly refused: number;
  readonly longestGapMs: number;
  readonly failures: readonly StreamFailure[];
  readonly wallMs: number;
  readonly loadAverage: number;
}

const throwsMax = 10;
const lookMs = 50;
/** A recovery that takes longer is struck again. */
const patienceMs = 90_000;
/** However slow this machine is: a node that is restarted lets the answers under way end, and no answer fails for its deadline. */
const patientNodes = { "drain-timeout-ms": 240_000, "request-timeout-ms": 3_600_000 } as const;

const delay = (ms: number) => new Promise<void>((resolve) => { setTimeout(resolve, ms); });

export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const { onLine, signal: _, mayStrike: __, observe, ...rest } = options;
  const random = new Random(options.seed);
  const startedAt = performance.now();
  onLine(`seed ${options.seed}: starting ${options.nodes} nodes`);
  const wanted = { nodes: options.nodes, ownDisks: options.ownDisks ?? false, settings: { ...patientNodes, ...options.settings }, ...(options.root === undefined ? {} : { root: options.root }) };
  const network = options.network ? await startNetworkCluster(wanted) : undefined;
  const cluster = network?.cluster ?? await startCluster(wanted);
  try {
    const model = (await cluster.nodes[0]!.status()).model.id;
    const undisturbed: Undisturbed[] = [];
    for (const question of options.questions ?? questions) undisturbed.push({ question, answer: await cluster.nodes[0]!.ask(question) });
    onLine(`${undisturbed.length} questions answered undisturbed; breaking things`);

    const streams = new Streams(cluster.nodes, undisturbed, model, random, onLine);
    const running = streams.run(options.streams);
    const observed = observe?.(cluster, streams);
    const struck: { record: FaultRecord; watch: Watch }[] = [];
    try {
      await strikeAll(cluster, network, streams, options, random, struck);
      await cluster.ready();
    } finally {
      streams.stop();
    }
    await running;
    await cluster.ready();
    await observed?.();
    const { completed, tokens, cutOff, refused, longestGapMs, failures } = streams;
    for (const { record, watch } of struck) { record.survived = watch.open.size; record.interruptions = interruptions(watch); }
    return { options: rest, faults: struck.map(({ record }) => record), completed, tokens, cutOff, refused, longestGapMs, failures, wallMs: performance.now() - startedAt, loadAverage: loadavg()[0] ?? 0 };
  } catch (error) {
    for (const node of cluster.nodes) onLine(node.lastWords());
    throw error;
  } finally {
    await (network ?? cluster).stop();
  }
}

async function strikeAll(cluster: Cluster, network: NetworkCluster | undefined, streams: Streams, options: ChaosOptions, random: Random, struck: { record: FaultRecord; watch: Watch }[]): Promise<void> {
  const kinds = faults.filter(({ name }) => options.kinds.includes(name));
  const deadline = performance.now() + options.minutesMax * 60_000;
  const [low, high] = options.pauseMs ?? [1_000, 8_000];
  const healing = new Set<Promise<void>>();
  const problems: unknown[] = [];
  let linksBroken = false;
  let beatAt = performance.now();
  const over = (): boolean => performance.now() >= deadline || options.signal?.aborted === true;
  const patientlyUntil = async (happened: () => boolean): Promise<void> => {
    for (const patienceEnds = performance.now() + patienceMs; !happened() && performance.now() < patienceEnds && !over();) await delay(lookMs);
  };
  while (struck.length < options.faultsMax && !over()) {
    if (options.steady) {
      beatAt += random.between(low, high);
      await delay(Math.max(0, beatAt - performance.now()));
    } else if (random.chance(0.25)) await delay(random.between(50, 1_500));
    else {
      const last = struck.at(-1)?.watch;
      await patientlyUntil(() => streams.open > 0 && (!last || goesOn(last)));
      await delay(random.between(low, high));
    }
    const chosen = choose(kinds, cluster, streams, random, linksBroken, options.mayStrike);
    if (!chosen) continue;
    const { fault, node } = chosen;
    // What nobody streams through, nobody notices.
    if (fault.breaksFrontDoor) await patientlyUntil(() => streams.openBeside(node) > 0);
    const leader = (await cluster.nodes.find((other) => other.running && !streams.away.has(other))?.status().catch(() => undefined))?.leader?.device_id === node.name;
    const watch = streams.watch();
    const record: FaultRecord = { fault: fault.name, node: node.name, leader, open: watch.open.size, survived: 0, interruptions: [] };
    struck.push({ record, watch });
    options.onLine(`${String(struck.length).padStart(4)} ${fault.name} ${node.name}${leader ? " (rank 0)" : ""}, ${watch.open.size} streams open`);
    if (fault.breaksFrontDoor) streams.frontDoorStruck(node);
    streams.away.add(node);
    if (fault.links) linksBroken = true;
    const healed = heal(fault, node, random, network, streams).finally(() => { if (fault.links) linksBroken = false; }).catch((error: unknown) => { problems.push(error); });
    healing.add(healed);
    void healed.then(() => healing.delete(healed));
    // A worker's fault is over when it has struck; the node can be struck again, in the middle of its recovery too.
    if (fault.name === "worker-kill" || fault.name === "restart") await healed;
    if (fault.name === "restart") await cluster.ready();
    if (problems.length > 0) throw problems[0];
  }
  await Promise.all(healing);
  if (problems.length > 0) throw problems[0];
}

/** @returns undefined when none of the kinds that the dice showed can strike anybody now. */
function choose(kinds: readonly Fault[], cluster: Cluster, streams: Streams, random: Random, linksBroken: boolean, mayStrike: ChaosOptions["mayStrike"]): { readonly fault: Fault; readonly node: ClusterNode } | undefined {
  for (let throws = 0; throws < throwsMax; throws += 1) {
    const fault = random.pick(kinds);
    if (fault.links && linksBroken) continue;
    // Rolling means one after the other.
    if (fault.name === "restart" && streams.away.size > 0) continue;
    const free = candidates(cluster, fault, streams.away);
    // Somebody must be left to answer.
    if (fault.breaksFrontDoor && free.length < 2) continue;
    const struck = free.filter((node) => mayStrike?.(fault.name, cluster.nodes.indexOf(node)) ?? true);
    if (struck.length > 0) return { fault, node: random.pick(struck) };
  }
  return undefined;
}

async function heal(fault: Fault, node: Cluster["nodes"][number], random: Random, network: NetworkCluster | undefined, streams: Streams): Promise<void> {
  try {
    const undo = await fault.strike(node, random, network);
    if (fault.breaksFrontDoor) streams.frontDoorStruck(node);
    // Only a node that is down or leaves takes no new questions; the clients of a paused one wait.
    if (!["agent-kill", "node-kill", "pm2-kill", "restart"].includes(fault.name)) streams.away.delete(node);
    await undo?.();
    if (fault.name === "agent-kill") await node.listening();
  } finally {
    if (fault.breaksFrontDoor) streams.frontDoorStruck(node);
    streams.away.delete(node);
  }
}
