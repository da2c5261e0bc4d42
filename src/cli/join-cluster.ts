/** Joining, for `minid join` and `minid up --join`: candidates come from the token, `--peer`, the configured devices and multicast DNS. */
import { MinidError } from "../core/errors.js";
import { silentLog } from "../core/log.js";
import type { Config } from "../daemon/config/table.js";
import { browse } from "../daemon/discovery/browse.js";
import { type Joined, joinCluster } from "../daemon/security/join.js";

export interface JoinRequest {
  readonly home: string;
  readonly config: Config;
  readonly token: string;
  readonly peer: string | undefined;
  /** Leave a cluster that is shared with other machines. */
  readonly leave?: boolean;
}

export async function join(request: JoinRequest): Promise<Joined> {
  const { home, config, token, peer } = request;
  if (peer !== undefined && !/^.+:\d{1,5}$/u.test(peer)) throw new MinidError("usage", `--peer is ${JSON.stringify(peer)}: write HOST:PORT with the member's agent port`);
  const named = [...(peer === undefined ? [] : [peer]), ...config.devices.map((device) => `${device.hostname}:${device.agent_port}`)];
  const heard = new Set<string>();
  const browser = config.mdns
    ? browse({ log: silentLog, interface: config.mdns_interface, onFound: (address) => heard.add(address) })
    : undefined;
  try {
    return await joinCluster(home, token, { deviceId: config.device_id, candidates: () => [...named, ...heard], leave: request.leave ?? false });
  } finally {
    await browser?.stop();
  }
}
