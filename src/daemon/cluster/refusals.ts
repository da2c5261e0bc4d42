/**
 * What a refused connection says of a peer. Its machine answers, so it is no matter of the network: its agent is not running. When
 * nobody listens on its worker's port either, the whole node is down, and there is no agent to be waited for that pm2 is starting again.
 */
import { connect } from "node:net";
import type { NodeId } from "../../core/ids.js";
import type { ClusterInput, ClusterView } from "./contract.js";

/** Within a network a refusal takes a round trip. */
const answerMs = 500;

export class Refusals {
  readonly #view: () => ClusterView;
  readonly #input: (input: ClusterInput) => void;
  readonly #looking = new Set<NodeId>();

  constructor(view: () => ClusterView, input: (input: ClusterInput) => void) {
    this.#view = view;
    this.#input = input;
  }

  /** The peer's agent refused a connection. */
  refused(nodeId: NodeId): void {
    this.#input({ kind: "refused", nodeId, byWorkerToo: false });
    const worker = this.#view().plan?.ranks.find((rank) => rank.nodeId === nodeId)?.workerAddresses ?? [];
    if (worker.length === 0 || this.#looking.has(nodeId)) return;
    this.#looking.add(nodeId);
    void Promise.all(worker.map(answerOf)).then((answers) => {
      this.#looking.delete(nodeId);
      if (answers.includes("refuses") && !answers.includes("listens")) this.#input({ kind: "refused", nodeId, byWorkerToo: true });
    });
  }
}

function answerOf(address: string): Promise<"listens" | "refuses" | "silent"> {
  const colon = address.lastIndexOf(":");
  const socket = connect({ host: address.slice(0, colon), port: Number(address.slice(colon + 1)), timeout: answerMs });
  return new Promise<"listens" | "refuses" | "silent">((resolve) => {
    socket.once("connect", () => { resolve("listens"); });
    socket.once("timeout", () => { resolve("silent"); });
    socket.once("error", (error: NodeJS.ErrnoException) => { resolve(error.code === "ECONNREFUSED" ? "refuses" : "silent"); });
  }).finally(() => { socket.destroy(); });
}
