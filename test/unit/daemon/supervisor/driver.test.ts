import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../../../src/core/clock.js";
import { MinidError } from "../../../../src/core/errors.js";
import { silentLog } from "../../../../src/core/log.js";
import { isAlive, processStartTime } from "../../../../src/core/process-identity.js";
import { removeRunFile, writeRunFile } from "../../../../src/core/run-file.js";
import type { WorkerClient } from "../../../../src/core/worker-client.js";
import type { LoadRequest, ProbeReply } from "../../../../src/core/worker-protocol.js";
import { Supervisor } from "../../../../src/daemon/supervisor/driver.js";
import type { SupervisorEvent } from "../../../../src/daemon/supervisor/types.js";
import { until } from "../../../support/wait.js";
import { epoch, request } from "./fake-worker.js";

let home = "";
const children: ChildProcess[] = [];
let supervisor: Supervisor | undefined;
beforeEach(() => { home = mkdtempSync(join(tmpdir(), "minid-supervisor-")); });
afterEach(() => {
  supervisor?.stop();
  for (const child of children.splice(0)) child.kill("SIGKILL");
  rmSync(home, { recursive: true, force: true });
});

/** A process to stand for the worker's, and a client that answers in its name. */
class Stand {
  readonly incarnation: string;
  readonly pid: number;
  loads: LoadRequest[] = [];
  counter = 5;
  closed = 0;

  constructor(incarnation: string) {
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
    children.push(child);
    this.pid = child.pid!;
    this.incarnation = incarnation;
  }

  announce(): this { writeRunFile(home, "worker", { pid: this.pid, startTime: processStartTime(this.pid), incarnation: this.incarnation, port: 1 }); return this; }
  alive(): boolean { return processStartTime(this.pid) !== ""; }

  client(): WorkerClient {
    return {
      probe: async () => {
        if (!this.alive()) throw new MinidError("not_ready", "connection refused");
        return this.#reply();
      },
      load: async (wanted) => { this.loads.push(wanted); return { bytesLoaded: 1, bytesTotal: 1, ready: true, reused: false }; },
      run: () => { throw new Error("not used"); },
      close: () => { this.closed += 1; },
    };
  }

  #reply(): ProbeReply {
    const stage = this.loads.at(-1);
    return {
      incarnation: this.incarnation, pid: this.pid, epoch: stage?.epoch ?? epoch(0), phase: stage ? "PHASE_IDLE" : "PHASE_EMPTY", inflight: 0, stepSeq: this.counter, phaseAgeMs: 0, progressAgeMs: 0, loopLagMs: 0,
      bytesLoaded: 1, bytesTotal: 1, errorCode: "", error: "", rssBytes: 0, kvBytes: 0, engine: "", stepsTotal: 0, computeSecondsTotal: 0, cpuSecondsTotal: 0, computeCounts: [],
      stage: stage ? { planVersion: stage.planVersion, modelId: stage.modelId, rank: 0, worldSize: 1, layerFirst: 0, layerEnd: 30, engine: "onnx", numerics: "fast", replay: "prefill" } : null,
    };
  }
}

function supervise(connect: (onBroken: () => void) => WorkerClient, probeIntervalMs = 50): SupervisorEvent[] {
  const events: SupervisorEvent[] = [];
  supervisor = new Supervisor({ home, clock: systemClock, log: silentLog, probeIntervalMs, connect, onFacts: () => undefined, onEvent: (event) => events.push(event) });
  supervisor.start();
  return events;
}

describe("the supervisor's driver", () => {
  it("loads the stage, kills the run file's process when it lies, and loads its successor on a new channel", async () => {
    let stand = new Stand("first").announce();
    const events = supervise(() => stand.client());
    supervisor!.assign(request(1));
    await until("the stage is loaded", () => supervisor!.facts().loaded?.planVersion === 1 && supervisor!.facts().healthy);

    const liar = stand;
    liar.counter = 1;
    await until("the liar is dead", () => !liar.alive());
    stand = new Stand("second").announce();
    await until("the successor has the stage", () => supervisor!.facts().incarnation === "second" && supervisor!.facts().loaded?.planVersion === 1);
    expect(liar.closed).toBe(1);
    expect(events.find((event) => event.kind === "restarted")).toMatchObject({ reason: "lied", incarnation: "second" });
    expect(events.filter((event) => event.kind === "recovery").map(({ phase }) => phase)).toEqual(["detect", "restart", "load", "total"]);
  });

  it("looks at once when the connection breaks, and often until the successor has its stage, however seldom it looks at a worker that is well", async () => {
    let stand = new Stand("first").announce();
    let breaks = (): void => undefined;
    supervise((onBroken) => { breaks = onBroken; return stand.client(); }, 3_600_000);
    supervisor!.assign(request(1));
    await until("the stage is loaded", () => supervisor!.facts().loaded?.planVersion === 1 && supervisor!.facts().healthy);

    children[0]!.kill("SIGKILL");
    await until("it is dead", () => !stand.alive());
    breaks();
    await until("its death is known", () => !supervisor!.facts().healthy);
    stand = new Stand("second").announce();
    await until("the successor has the stage", () => supervisor!.facts().incarnation === "second" && supervisor!.facts().loaded?.planVersion === 1);
  });

  it("does not kill a process that is not this home's worker, whatever an answer says", async () => {
    const stand = new Stand("stranger");
    supervise(() => stand.client());
    await until("it answers", () => supervisor!.facts().incarnation === "stranger");
    stand.counter = 1;
    await until("the kill was decided", () => supervisor!.facts().error.includes("lied"));
    expect(stand.alive()).toBe(true);
  });

  it("does not kill a process that has got the pid of a dead worker", async () => {
    const stand = new Stand("old");
    writeRunFile(home, "worker", { pid: stand.pid, startTime: "long ago", incarnation: "old", port: 1 });
    supervise(() => stand.client());
    await until("it answers", () => supervisor!.facts().incarnation === "old");
    stand.counter = 1;
    await until("the kill was decided", () => supervisor!.facts().error.includes("lied"));
    expect(isAlive({ pid: stand.pid, startTime: processStartTime(stand.pid) })).toBe(true);
    removeRunFile(home, "worker", stand.pid);
  });
});
