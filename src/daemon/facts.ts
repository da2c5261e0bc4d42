/** What this machine says of itself to the cluster, gathered from the configuration and the operating system. */
import { availableParallelism, hostname, networkInterfaces, totalmem } from "node:os";
import { isAnyAddress } from "../core/any-address.js";
import type { Config } from "./config/table.js";
import { ADDRESSES_MAX, type LocalFacts, type WorkerFacts } from "./membership/facts.js";

/** Share of the machine's memory that minid takes when the configuration does not say. */
const memoryShare = 0.75;

/** @param version minid's release. */
export function localFacts(config: Config, version: string, worker: WorkerFacts): LocalFacts {
  const deviceIndex = config.devices.findIndex((device) => device.device_id === config.device_id);
  const listedRank = config.devices[deviceIndex]?.local_rank;
  const localRank = config.local_rank ?? listedRank;
  return {
    deviceId: config.device_id,
    hostname: config.advertise_host ?? config.devices[deviceIndex]?.hostname ?? `${config.device_id}.local`,
    pid: process.pid,
    addresses: ownAddresses(config),
    agentPort: config.agent_port,
    workerPort: config.worker_port,
    httpPort: config.http_port,
    software: version,
    platform: `${process.platform} ${process.arch}`,
    engine: engineOf(config),
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    budgetBytes: config.memory_bytes_max ?? Math.floor(totalmem() * memoryShare),
    ...(localRank === undefined ? {} : { localRank }),
    ...(deviceIndex < 0 ? {} : { deviceIndex }),
    worker,
  };
}

export function engineOf(config: Config): "onnx" | "mlx" {
  if (config.engine !== "auto") return config.engine;
  return process.platform === "darwin" && process.arch === "arm64" ? "mlx" : "onnx";
}

/** Names by which people on this network know the machine; they change with it. */
export function ownNames(config: Config): string[] {
  const [full, id] = [hostname().toLowerCase(), config.device_id.toLowerCase()];
  const short = full.replace(/\..*$/u, "");
  const names: readonly (string | undefined)[] = [full, short, `${short}.local`, id, `${id}.local`, "minid.local", config.advertise_host?.toLowerCase(), config.http_host.toLowerCase(), ...config.devices.filter((device) => device.device_id === config.device_id).map((device) => device.hostname.toLowerCase())];
  return [...new Set(names.flatMap((name) => (name === undefined || name === "" || name === "*" ? [] : [name])))];
}

/** The configured address, else what the interfaces have now: the network's before the loopback, which serves nodes on one machine. */
export function ownAddresses(config: Config): string[] {
  if (config.advertise_host !== undefined) return [config.advertise_host];
  if (!isAnyAddress(config.grpc_host)) return [config.grpc_host];
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []).filter((address) => address.family === "IPv4");
  const outside = all.filter((address) => !address.internal).map((address) => address.address);
  return [...outside.sort(), "127.0.0.1"].slice(-ADDRESSES_MAX);
}

/** Where this process reaches what listens on `host` of this machine. */
export function loopbackOf(host: string): string {
  return isAnyAddress(host) ? "127.0.0.1" : host;
}
