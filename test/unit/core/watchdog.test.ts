import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { isAlive, killProcess, processStartTime } from "../../../src/core/process-identity.js";
import { compiledPath } from "../../support/compiled.js";
import { until } from "../../support/wait.js";

const children: ChildProcess[] = [];
afterEach(() => { for (const child of children.splice(0)) child.kill("SIGKILL"); });

/** A process with a watchdog that runs `source` and prints `up` once it has. */
async function watched(source: string, options = "{ stillMsMax: 300 }"): Promise<ChildProcess> {
  const child = spawn(process.execPath, ["--input-type=module", "-e", `
    import { startWatchdog } from ${JSON.stringify(compiledPath("core/watchdog.js"))};
    const stop = startWatchdog(${options});
    setTimeout(async () => { process.stdout.write("up\\n"); ${source} }, 50);
    setInterval(() => {}, 1000);`], { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  const printed = await Promise.race([once(child.stdout, "data"), once(child, "exit")]);
  expect(String(printed[0])).toBe("up\n");
  return child;
}
const killedBy = async (child: ChildProcess) => (child.signalCode ?? (await once(child, "exit") as [number | null, string | null])[1]);

describe("watchdog", () => {
  it("kills a process whose event loop is frozen", async () => {
    expect(await killedBy(await watched("for (;;) {}"))).toBe("SIGKILL");
  });

  it("lets a loop live that is slow, idle, or no longer watched", async () => {
    const slow = await watched("const end = Date.now() + 1500; const turn = () => { const t = Date.now() + 100; while (Date.now() < t); if (Date.now() < end) setImmediate(turn); else process.exit(7); }; turn();", "{ stillMsMax: 1000 }");
    const unwatched = await watched("await stop(); const end = Date.now() + 800; while (Date.now() < end); process.exit(7);");
    const codes = await Promise.all([slow, unwatched].map(async (child) => child.exitCode ?? ((await once(child, "exit")) as [number])[0]));
    expect(codes).toEqual([7, 7]);
  });

  it("does not take a stopped process for a frozen one", async () => {
    const child = await watched("setTimeout(() => process.exit(7), 1500);");
    child.kill("SIGSTOP");
    const stopped = performance.now();
    await until("the process has been stopped for four times the bound", () => performance.now() - stopped > 1_200);
    child.kill("SIGCONT");
    expect(child.exitCode ?? ((await once(child, "exit")) as [number | null])[0]).toBe(7);
  });

  it("ends a process that outlives its parent with a frozen loop", async () => {
    const parent = spawn(process.execPath, ["--input-type=module", "-e", `
      import { spawn } from "node:child_process";
      const child = spawn(process.execPath, ["--input-type=module", "-e", \`
        import { startWatchdog } from ${JSON.stringify(compiledPath("core/watchdog.js"))};
        startWatchdog({ stillMsMax: 300, withParent: true });
        setInterval(() => {}, 1000);
        process.stdout.write(process.pid + "\\\\n");\`], { stdio: ["ignore", "inherit", "ignore"] });
      setInterval(() => {}, 1000);`], { stdio: ["ignore", "pipe", "inherit"] });
    children.push(parent);
    const [line] = await once(parent.stdout, "data") as [Buffer];
    const pid = Number(line.toString());
    const orphan = { pid, startTime: processStartTime(pid) };
    try {
      expect(isAlive(orphan)).toBe(true);
      parent.kill("SIGKILL");
      await until("the orphan is gone", () => !isAlive(orphan));
    } finally {
      killProcess(orphan);
    }
  });
});
