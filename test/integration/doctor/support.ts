/** Staging faults and asking `minid doctor` about them, as a person would: the command, against real nodes. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import type { Severity } from "../../../src/checks/check.js";
import type { Examination } from "../../../src/daemon/doctor/examine.js";
import { until } from "../../support/wait.js";

const commandTimeoutMs = 120_000;
/** Some twenty visits on an idle machine, a few on a busy one. */
const foundTimeoutMs = 240_000;

/** Where the command runs: the home, and what is put before it (`ip netns exec …`). */
export interface Bedside { readonly name: string; readonly home: string; readonly prefix?: readonly string[] }

export interface Visit { readonly code: number; readonly examination: Examination & { readonly worst: Severity; readonly fixed?: readonly { readonly code: string; readonly done: boolean; readonly what: string }[] } }

/** Runs `minid doctor --json`. Only the exit codes of findings are answers; any other rejects. */
export function doctor({ home, prefix = [] }: Bedside, ...args: readonly string[]): Promise<Visit> {
  const [program, ...rest] = [...prefix, process.execPath, join(process.cwd(), "dist", "cli", "main.js"), "doctor", "--json", "--home", home, ...args];
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("MINID_") && name !== "DISTRIBUTED_CONFIG" && !name.startsWith("VITEST")));
  return new Promise((resolve, reject) => {
    execFile(program!, rest, { env, timeout: commandTimeoutMs, maxBuffer: 16 << 20 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : Number(error.code ?? -1);
      if (![0, 1, 4].includes(code)) { reject(new Error(`minid doctor ended with ${code}: ${stderr === "" ? error?.message ?? "" : stderr}`)); return; }
      resolve({ code, examination: JSON.parse(stdout) as Visit["examination"] });
    });
  });
}

/** `code device`, for each warning and error. */
export const alarmsOf = ({ findings }: Examination): string[] => findings.filter(({ severity }) => severity === "warning" || severity === "error").map(({ code, device }) => `${code} ${device ?? ""}`.trim());

export interface Row { readonly fault: string; readonly code: string; readonly device: string; readonly severity: string; readonly seen: string; readonly tookMs: number; readonly besides: readonly string[] }

/** What was found, for the report. */
export class Casebook {
  readonly rows: Row[] = [];

  /** Asks until the fault is named with its code and machine, and in these words where some are given. @throws with what was found instead. */
  async finds(fault: string, where: Bedside, wanted: string | { readonly code: string; readonly seen: RegExp }, device: string | undefined, ...args: readonly string[]): Promise<Row> {
    const { code, seen } = typeof wanted === "string" ? { code: wanted, seen: /(?:)/u } : wanted;
    const startedAt = performance.now();
    let last: readonly string[] = [];
    try {
      return await until(`${code} ${device ?? ""} after: ${fault}`, async () => {
        const { examination } = await doctor(where, ...args);
        last = examination.findings.filter(({ severity }) => severity !== "ok").map((finding) => `${finding.severity} ${finding.code} ${finding.device ?? ""}: ${finding.seen}`);
        const found = examination.findings.find((finding) => finding.code === code && finding.severity !== "ok" && (device === undefined || finding.device === device) && seen.test(finding.seen));
        if (!found) return undefined;
        const row = { fault, code, device: found.device ?? "", severity: found.severity, seen: found.seen, tookMs: performance.now() - startedAt, besides: alarmsOf(examination).filter((alarm) => alarm !== `${code} ${found.device ?? ""}`.trim()) };
        this.rows.push(row);
        console.log(`found: ${fault} -> ${row.severity} ${code} (${row.device}) in ${(row.tookMs / 1_000).toFixed(1)} s: ${row.seen}${row.besides.length > 0 ? ` [besides: ${row.besides.join(", ")}]` : ""}`);
        return row;
      }, foundTimeoutMs);
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : String(error)}; found instead:\n${last.join("\n")}`, { cause: error });
    }
  }

  /** Nothing but notes. @throws with what was found. */
  async healthy(where: Bedside, timeoutMs = 240_000): Promise<void> {
    let last: readonly string[] = [];
    try {
      await until("no alarm", async () => { last = alarmsOf((await doctor(where)).examination); return last.length === 0; }, timeoutMs);
    } catch (error) { throw new Error(`alarms on a healthy cluster: ${last.join(", ")}`, { cause: error }); }
  }
}
