/**
 * Prometheus' HTTP service discovery (`http_sd_configs`): every member's `/metrics`, from any one of them. A machine that died stays
 * in the list, so that its target shows as down; one that left in order does not.
 *
 * Other members are named by the address at which their agents are reached. Their HTTP API must listen there (`http_host`), which it
 * does not by default; this node is named by the address at which it was asked, which works in any case.
 */
import type { DeviceStatus, StatusSnapshot } from "../daemon/status.js";

export interface TargetGroup { readonly targets: readonly string[]; readonly labels: Readonly<Record<string, string>> }

/** @param askedAt the local address of the connection that asks. */
export function metricsTargets(status: StatusSnapshot, askedAt: string): TargetGroup[] {
  return status.devices.filter((device) => device.status !== "left" && device.status !== "incompatible").flatMap((device) => {
    const host = device.self ? hostOf(askedAt) : agentHost(device);
    if (host === undefined || device.agent.http_port === 0) return [];
    return [{
      targets: [`${host}:${device.agent.http_port}`],
      labels: {
        cluster: status.cluster.name, device_id: device.device_id,
        __meta_minid_node_id: device.node_id, __meta_minid_role: device.role, __meta_minid_rank: String(device.rank ?? ""), __meta_minid_status: device.status, __meta_minid_version: device.agent.version,
      },
    }];
  });
}

/** Of `host:port`, best first. */
function agentHost({ addresses }: DeviceStatus): string | undefined {
  const [best] = addresses;
  return best?.slice(0, best.lastIndexOf(":"));
}

/** IPv4 in IPv6's clothes, and IPv6 in brackets. */
function hostOf(address: string): string {
  const plain = address.replace(/^::ffff:/u, "");
  return plain.includes(":") ? `[${plain}]` : plain;
}
