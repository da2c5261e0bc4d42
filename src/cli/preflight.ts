/** The machine's checks with what a configuration adds: its ports, its model, its multicast. For `minid install` and `minid doctor`. */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { type Finding, runChecks } from "../checks/check.js";
import { machineChecks } from "../checks/machine-checks.js";
import { probeMachine } from "../checks/machine-probe.js";
import type { Config } from "../daemon/config/table.js";
import { usableInterfaces } from "../daemon/discovery/interfaces.js";
import { testMulticast } from "../daemon/discovery/self-test.js";
import { resolveModel } from "../model/store.js";
import { nodeVersionMin } from "./common.js";

export interface PreflightOptions {
  readonly home: string;
  readonly config: Config;
  readonly systemService: boolean;
}

export async function preflight({ home, config, systemService }: PreflightOptions): Promise<Finding[]> {
  return runChecks(machineChecks, await probeMachine({
    home, systemService, nodeVersionMin: nodeVersionMin(), modelBytes: await modelBytes(config.model, home),
    ports: [
      { setting: "http_port", host: config.http_host, port: config.http_port },
      { setting: "agent_port", host: config.grpc_host, port: config.agent_port },
      { setting: "worker_port", host: config.grpc_host, port: config.worker_port },
    ],
    multicast: config.mdns ? () => hearOwnMulticast(config.mdns_interface) : undefined,
  }));
}

async function hearOwnMulticast(only: string | undefined) {
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
