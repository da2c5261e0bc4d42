/** The supervisor's channel to its own worker: a fresh connection each time, with no memory of failed ones. */
import type { Transport } from "../../core/transport.js";
import { connectWorker, type WorkerClient } from "../../core/worker-client.js";

/**
 * @param address host:port of this machine's worker, by loopback.
 * @param name the DNS name in its certificate: `peerName(nodeId)`; the worker beside an agent has the agent's certificate.
 */
export function workerConnector(address: string, name: string, transport: Transport): (onBroken?: () => void) => WorkerClient {
  const own: Transport = {
    ...transport,
    // Subchannels are shared within a process and keep their reconnect backoff; a restarted worker must be found at once.
    channelOptions: (peer) => ({ ...transport.channelOptions(peer), "grpc.use_local_subchannel_pool": 1 }),
  };
  return (onBroken) => connectWorker(address, name, own, onBroken);
}
