/** What of minid's service is on this machine now: asked of systemd or launchd, and of the agent itself. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { type ServicePlatform, type ServiceSeen, definitionPath, serviceLabel, sleepDefinitionPath, sleepUnitName, unitName } from "./spec.js";

export async function seeService(platform: ServicePlatform, url: string, packageVersion: string): Promise<ServiceSeen> {
  return {
    definition: definitionOf(platform),
    sleepDefinition: platform === "linux" ? contentOf(sleepDefinitionPath) : undefined,
    loaded: platform === "linux" ? succeeds("systemctl", "is-active", "--quiet", unitName) : succeeds("launchctl", "print", `system/${serviceLabel}`),
    enabled: platform === "linux" && [unitName, sleepUnitName].every((unit) => succeeds("systemctl", "is-enabled", "--quiet", unit)),
    runningVersion: await runningVersion(url), packageVersion,
    pmset: platform === "darwin" ? pmset() : undefined,
  };
}

export const definitionOf = (platform: ServicePlatform): string | undefined => contentOf(definitionPath[platform]);

function contentOf(path: string): string | undefined {
  try { return readFileSync(path, "utf8"); } catch { return undefined; }
}

function succeeds(command: string, ...args: string[]): boolean {
  try { execFileSync(command, args, { stdio: "ignore", timeout: 10_000 }); return true; } catch { return false; }
}

async function runningVersion(url: string): Promise<string | undefined> {
  try {
    const response = await fetch(`${url}/distributed/status`, { signal: AbortSignal.timeout(2_000) });
    return (await response.json() as { readonly node?: { readonly version?: string } }).node?.version;
  } catch {
    return undefined;
  }
}

function pmset(): ServiceSeen["pmset"] {
  try {
    const text = execFileSync("pmset", ["-g"], { encoding: "utf8", timeout: 10_000 });
    const value = (name: string): number => Number(new RegExp(`^\\s*${name}\\s+(\\d+)`, "mu").exec(text)?.[1] ?? Number.NaN);
    const found = { sleep: value("sleep"), autorestart: value("autorestart"), womp: value("womp") };
    return Object.values(found).every(Number.isSafeInteger) ? found : undefined;
  } catch {
    return undefined;
  }
}
