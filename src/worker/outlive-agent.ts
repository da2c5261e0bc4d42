/**
 * Order of leaving: pm2 signals agent and worker at the same moment, but the agent still has answers to bring to their ends,
 * and they need this worker. So a worker that is told to stop computes on until its agent is gone. Bounded: the agent's own
 * stop is, and pm2's kill_timeout ends whoever stays too long.
 */
import { sleep } from "../core/clock.js";
import { isAlive } from "../core/process-identity.js";
import { readRunFile } from "../core/run-file.js";

const pollIntervalMs = 50;

/** Resolves when the agent that runs in this home now is gone, or at once when there is none; at the latest after `timeoutMs`. */
export async function agentGone(home: string, timeoutMs: number): Promise<void> {
  const agent = readRunFile(home, "agent");
  if (!agent) return;
  const deadline = performance.now() + timeoutMs;
  while (isAlive(agent) && performance.now() < deadline) await sleep(pollIntervalMs);
}
