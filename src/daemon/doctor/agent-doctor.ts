/** The agent's part of `minid doctor`: looks at its own machine for whoever asks, and at the whole cluster for its own user. */
import type { Clock } from "../../core/clock.js";
import type { SecureListener } from "../../core/trust/secure-listener.js";
import type { Transport } from "../../core/transport.js";
import type { Trust } from "../../core/trust/trust.js";
import type { ClusterView } from "../cluster/contract.js";
import type { Config } from "../config/table.js";
import type { StatusSnapshot } from "../status.js";
import { type Examination, examineCluster } from "./examine.js";
import type { Peer } from "./links.js";
import { rememberedPeers, unmetOf } from "./peers.js";
import type { MachineReport } from "./report.js";
import { selfReport } from "./self-report.js";

export interface AgentDoctorDeps {
  readonly home: string;
  readonly config: Config;
  readonly clock: Clock;
  readonly trust: Trust;
  readonly transport: Transport;
  readonly status: () => StatusSnapshot;
  readonly view: () => ClusterView;
  readonly forgottenCallers: () => SecureListener["forgottenCallers"];
  readonly systemService: boolean;
}

export class AgentDoctor {
  readonly #deps: AgentDoctorDeps;
  /** Several who ask at once get one look. */
  readonly #looking = new Map<boolean, Promise<MachineReport>>();

  constructor(deps: AgentDoctorDeps) { this.#deps = deps; }

  async examineSelf(deep: boolean): Promise<MachineReport> {
    let looking = this.#looking.get(deep);
    if (!looking) {
      looking = this.#look(deep).finally(() => { this.#looking.delete(deep); });
      this.#looking.set(deep, looking);
    }
    // The asker compares this clock with its own when the answer arrives.
    return { ...await looking, wallMs: this.#deps.clock.wallMs() };
  }

  async examineCluster(deep: boolean): Promise<Examination> {
    const { trust, transport } = this.#deps;
    const peers = await this.#peers();
    return examineCluster({
      self: this.examineSelf(deep), peers, unmet: unmetOf(trust, peers), transport, deep,
      cluster: { id: trust.cluster.clusterId, name: trust.cluster.name },
    });
  }

  async #look(deep: boolean): Promise<MachineReport> {
    const { home, config, clock, trust, transport, status, systemService } = this.#deps;
    return selfReport({
      home, config, clock, systemService, status: status(), device: config.device_id, nodeId: trust.nodeId, refused: this.#refused(), agentAnswers: true, inAgent: true,
      peers: await this.#peers(), identity: { material: trust.material, transport }, deep,
    });
  }

  #refused() {
    const { trust, clock, forgottenCallers } = this.#deps;
    const names = new Map(trust.records.list().flatMap((record) => (record.kind === "member" ? [[record.nodeId, record.deviceId] as const] : [])));
    return [...forgottenCallers()].map(([nodeId, { address, count, at }]) => ({ device: names.get(nodeId) ?? nodeId.slice(0, 8), address, count, agoMs: clock.now() - at }));
  }

  async #peers(): Promise<readonly Peer[]> {
    const { home, trust, view, config } = this.#deps;
    const met = view().members.filter((member) => !member.self && member.state !== "introduced" && member.agentAddresses.length > 0).map((member): Peer => ({
      nodeId: member.nodeId, device: member.facts?.deviceId ?? member.nodeId.slice(0, 8), addresses: member.agentAddresses, workerPort: member.facts?.workerPort, left: member.state === "left",
    }));
    return [...met, ...(await rememberedPeers(home, trust, config)).filter(({ nodeId }) => !met.some((peer) => peer.nodeId === nodeId))];
  }
}
