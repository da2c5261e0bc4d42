/** The machine's own checks with what a configuration adds: its ports, its model, its multicast. For `minid install` and `minid doctor`. */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { MachineFacts, MulticastFact } from "../../checks/machine-facts.js";
import { probeMachine } from "../../checks/machine-probe.js";
import { nodeVersionMin } from "../../core/package-info.js";
import { resolveModel } from "../../model/store.js";
import type { Config } from "../config/table.js";
import { usableInterfaces } from "../discovery/interfaces.js";
import { testMulticast } from "../discovery/self-test.js";

export interface MachineLookOptions {
  readonly home: string;
  readonly config: Config;
  readonly systemService: boolean;
}

/** Started by launchd or systemd, outside of any login session, as far as their environment tells. */
export function isSystemService(environment: NodeJS.ProcessEnv): boolean {
  return process.platform === "darwin" ? environment["XPC_SERVICE_NAME"]?.includes("minid") ?? false : environment["INVOCATION_ID"] !== undefined;
}

export async function lookAtMachine({ home, config, systemService }: MachineLookOptions): Promise<MachineFacts> {
  return await probeMachine({
    home, systemService, nodeVersionMin: nodeVersionMin(), modelBytes: await modelBytes(config.model, home),
    ports: [
      { setting: "http_port", host: config.http_host, port: config.http_port },
      { setting: "agent_port", host: config.grpc_host, port: config.agent_port },
      { setting: "worker_port", host: config.grpc_host, port: config.worker_port },
    ],
    multicast: config.mdns ? () => hearOwnMulticast(config.mdns_interface) : undefined,
  });
}

async function hearOwnMulticast(only: string | undefined): Promise<MulticastFact[]> {
  const interfaces = usableInterfaces(only).filter((each) => !each.internal);
  const tests = await testMulticast({ interfaces });
  return tests.map(({ interface: each, heard, problem }) => ({ interface: each.name, address: each.address, heard, ...(problem !== undefined && { problem }) }));
}

/** @returns undefined when the model is not on this machine. */
async function modelBytes(model: string, home: string): Promise<number | undefined> {
  const place = await resolveModel(model, home).catch(() => undefined);
  if (!place) return undefined;
  const files = (await readdir(place.directory)).filter((name) => name.endsWith(".safetensors"));
  const sizes = await Promise.all(files.map(async (name) => (await stat(join(place.directory, name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}
