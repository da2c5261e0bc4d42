/** Where `minid doctor`'s findings come from: the agent, when it answers; otherwise this process, with the home's own certificate. */
import type { Finding } from "../checks/check.js";
import { conditionEntries } from "../checks/conditions.js";
import { sleep, systemClock } from "../core/clock.js";
import { MinidError, toMinidError } from "../core/errors.js";
import { silentLog } from "../core/log.js";
import { isAlive } from "../core/process-identity.js";
import { readRunFile } from "../core/run-file.js";
import { trustedTransport } from "../core/transport.js";
import { Trust } from "../core/trust/trust.js";
import { loadConfig } from "../daemon/config/load.js";
import { rememberedConfig } from "../daemon/config/running.js";
import type { Config } from "../daemon/config/table.js";
import { browse } from "../daemon/discovery/browse.js";
import { type Examination, examineCluster, merged } from "../daemon/doctor/examine.js";
import { isSystemService } from "../daemon/doctor/machine-look.js";
import { rememberedPeers, unmetOf } from "../daemon/doctor/peers.js";
import { selfReport } from "../daemon/doctor/self-report.js";
import { NodeClient } from "./node-client.js";

/** A busy agent answers late; a hung one never. */
const aliveTimeoutMs = 4_000;
const aliveAttempts = 2;
const examineTimeoutMs = 60_000;
const deepTimeoutMs = 900_000;
const browseMs = 1_500;

/** By a node that answers: this home's, or another one. */
export async function examineBy(node: NodeClient, deep: boolean): Promise<Examination> {
  return await node.json("POST", "/admin/examine", { body: { deep }, timeoutMs: deep ? deepTimeoutMs : examineTimeoutMs }) as Examination;
}

export async function examine(home: string, deep: boolean): Promise<Examination> {
  const agent = readRunFile(home, "agent");
  const isThere = agent !== undefined && isAlive(agent);
  if (isThere && await agentAnswers(home)) {
    try {
      return await examineBy(NodeClient.ofHome(home), deep);
    } catch (error) {
      // It went away, or fell silent, meanwhile.
      if (toMinidError(error).code !== "not_running") throw error;
    }
  }
  return examineFromFiles(home, deep, isThere ? false : undefined);
}

async function agentAnswers(home: string): Promise<boolean> {
  for (let attempt = 0; attempt < aliveAttempts; attempt += 1) {
    if (await NodeClient.ofHome(home).call("GET", "/health/live", { timeoutMs: aliveTimeoutMs }).then(() => true, () => false)) return true;
    await sleep(200);
  }
  return false;
}

/** @param agentAnswers false: its process is there and says nothing; undefined: there is none. */
async function examineFromFiles(home: string, deep: boolean, agentAnswered: false | undefined): Promise<Examination> {
  const config = configOf(home);
  const trust = openTrust(home);
  const transport = trust && trustedTransport(trust);
  try {
    const peers = trust ? await rememberedPeers(home, trust, config) : [];
    const options = { home, config, clock: systemClock, device: config.device_id, nodeId: trust?.nodeId ?? "", systemService: isSystemService(process.env), status: undefined, refused: [], agentAnswers: agentAnswered, inAgent: false, deep };
    const [examination, strangers] = await Promise.all([
      examineCluster({
        self: selfReport({ ...options, peers, identity: trust && transport ? { material: trust.material, transport } : undefined }),
        peers, unmet: trust ? unmetOf(trust, peers) : [], transport, deep, cluster: trust && { id: trust.cluster.clusterId, name: trust.cluster.name },
      }),
      trust && config.mdns ? strangersOfOurName(trust, config) : [],
    ]);
    return { ...examination, findings: merged([...examination.findings, ...strangers]) };
  } finally { transport?.close(); }
}

/** What the node was started with last; else what it would start with; else the defaults. What is wrong with the file, a check says. */
function configOf(home: string): Config {
  const remembered = rememberedConfig(home);
  if (remembered) return remembered;
  try { return loadConfig({ home, environment: process.env }); } catch (error) {
    if (!(error instanceof MinidError)) throw error;
    return loadConfig({ home: "/nonexistent", environment: {} });
  }
}

/** Undefined when the home is in no cluster, or its files are damaged: checks say so. */
function openTrust(home: string): Trust | undefined {
  try { return Trust.open(home); } catch { return undefined; }
}

/** Another cluster of our name, as multicast DNS tells. */
async function strangersOfOurName(trust: Trust, config: Config): Promise<Finding[]> {
  const found = new Map<string, string>();
  const browser = browse({
    log: silentLog, interface: config.mdns_interface,
    onFound: (address, { clusterId, clusterName }) => { if (clusterId !== undefined && clusterId !== trust.cluster.clusterId && clusterName === trust.cluster.name) found.set(clusterId, address); },
  });
  try { await sleep(browseMs); } finally { await browser.stop(); }
  const { meaning, remedy } = conditionEntries.two_clusters_one_name;
  return [...found].map(([clusterId, address]) => ({ code: "two_clusters_one_name", severity: "warning", seen: `another cluster is called ${trust.cluster.name} too (${clusterId.slice(0, 8)} at ${address})`, meaning, remedy }));
}
