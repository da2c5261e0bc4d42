/**
 * Everything that can be known of this machine's node, as facts for the checks. Made by the running agent, which knows most, or by
 * `minid doctor` itself when the agent does not answer. Changes nothing; every question to the system has its time.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { NodeLook, ProcessLook, RefusedCaller, StageLook } from "../../checks/node-facts.js";
import type { Clock } from "../../core/clock.js";
import { processState } from "../../core/process-identity.js";
import { type Role, readRunFile } from "../../core/run-file.js";
import type { Config } from "../config/table.js";
import { complaintOf, endsOf, tailOf, wordsOf } from "../logs/last-words.js";
import type { StatusSnapshot, WorkerStatus } from "../status.js";
import { configProblemOf, lookAtHome, lookAtLogDisk, lookAtTrust } from "./home-look.js";
import { type ReadModel, lookAtModels } from "./model-look.js";
import { lookAtPace } from "./pace.js";

const run = promisify(execFile);
const askTimeoutMs = 2_000;

export interface NodeLookOptions {
  readonly home: string;
  /** What the node runs with, or would. */
  readonly config: Config;
  readonly clock: Clock;
  readonly installed: string;
  /** Of the agent, when it makes this look itself or has answered. */
  readonly status: StatusSnapshot | undefined;
  readonly refused: readonly RefusedCaller[];
  /** Whether the agent answered whoever looks; undefined: it was not asked. */
  readonly agentAnswers: boolean | undefined;
  /** This is the agent's own process: its limits are the node's. */
  readonly inAgent: boolean;
  readonly availableBytes: number;
  /** Read the whole model. */
  readonly deep: boolean;
}

export interface NodeLookResult { readonly look: NodeLook; readonly digests: ReadModel["digests"] }

export async function lookAtNode(options: NodeLookOptions): Promise<NodeLookResult> {
  const { home, config, clock, status, inAgent } = options;
  const nowWallMs = clock.wallMs();
  const [homeLook, trust, logDisk, openFilesMax, pm2Log, agentLog, workerLog, model, pace] = await Promise.all([
    lookAtHome(home), lookAtTrust(home), lookAtLogDisk(home), inAgent ? openFiles() : undefined,
    tailOf(home, "pm2.log"), wordsOf(home, "agent"), wordsOf(home, "worker"),
    lookAtModels([config.model, ...(status?.plan ? [status.plan.model_id] : [])], home, { deep: options.deep, failed: workerOf(status)?.error.startsWith("model_") === true }), lookAtPace(),
  ]);
  const processOf = (role: Role, log: string): ProcessLook => {
    const found = readRunFile(home, role);
    const ends = role === "pm2" ? { lastEnd: undefined, endsLately: 0 } : endsOf(pm2Log, role, nowWallMs);
    return { state: found ? processState(found) : "gone", pid: found?.pid, answers: undefined, lastWords: complaintOf(log), ...ends };
  };
  const agent = processOf("agent", agentLog);
  return {
    digests: model.digests,
    look: {
      nowWallMs, home: homeLook, trust, logDisk, openFilesMax, pace,
      // The agent's environment has the flags of `minid up` in it: the next start reads the file and its own.
      configProblem: configProblemOf({ home, environment: inAgent ? settingsFree(process.env) : process.env }),
      ports: { http: config.http_port, agent: config.agent_port, worker: config.worker_port },
      pm2: processOf("pm2", ""),
      agent: inAgent ? { ...agent, state: "running", pid: process.pid, answers: true } : { ...agent, answers: options.agentAnswers },
      worker: processOf("worker", workerLog),
      model: model.look,
      stage: status === undefined ? undefined : stageOf(status, options.availableBytes),
      refused: options.refused,
      version: { running: status?.node.version, installed: options.installed },
    },
  };
}

const settingsFree = (environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv => Object.fromEntries(Object.entries(environment).filter(([name]) => !name.startsWith("MINID_")));

/** A child inherits the limit: asked in a shell, the same way on every system. */
async function openFiles(): Promise<number | undefined> {
  const text = await run("sh", ["-c", "ulimit -n"], { timeout: askTimeoutMs }).then(({ stdout }) => stdout.trim(), () => "");
  if (text === "unlimited") return Number.MAX_SAFE_INTEGER;
  return /^\d+$/u.test(text) ? Number(text) : undefined;
}

const workerOf = (status: StatusSnapshot | undefined): WorkerStatus | null | undefined => status?.devices.find((device) => device.self)?.worker;

function stageOf(status: StatusSnapshot, availableBytes: number): StageLook | undefined {
  const rank = status.plan?.ranks.find((each) => each.node_id === status.node.node_id);
  const worker = workerOf(status);
  if (!rank || worker?.rss_bytes === undefined) return undefined;
  return { rank: rank.rank, layers: rank.layers, bytesMax: rank.weight_bytes + rank.kv_bytes_max, workerRssBytes: worker.rss_bytes, availableBytes };
}
