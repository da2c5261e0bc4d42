/**
 * Remembers in the home that these very files were held against their checksums a short time ago: a worker that takes the place of a dead one
 * need not read gigabytes again before it computes. Only for files that nobody has touched since (not even their times), for an hour, and
 * until the machine starts anew. Losing this costs one check.
 */
import { readFileSync } from "node:fs";
import { uptime } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { replaceFile } from "../core/replace-file.js";
import { fileState } from "./file-state.js";
import type { TensorRef } from "./weights.js";

const lastsMs = 3_600_000;
/** What clock and uptime may drift apart. */
const bootToleranceMs = 30_000;

const schema = z.object({ atMs: z.number(), bootMs: z.number(), files: z.record(z.string(), z.object({ state: z.string(), tensors: z.array(z.string()) })) });
type Checked = z.infer<typeof schema>;

export class CheckedLately {
  readonly #file: string;
  readonly #now: () => number;

  /** @param now wall clock, milliseconds. */
  constructor(home: string, now: () => number = Date.now) {
    this.#file = join(home, "run", "weights-checked.json");
    this.#now = now;
  }

  covers(tensors: readonly TensorRef[]): boolean {
    const checked = this.#read();
    const nowMs = this.#now();
    if (!checked || checked.atMs > nowMs || nowMs - checked.atMs > lastsMs || Math.abs(bootMs(nowMs) - checked.bootMs) > bootToleranceMs) return false;
    return Array.from(byFile(tensors)).every(([file, names]) => {
      const known = checked.files[file];
      const held = new Set(known?.tensors);
      return known?.state === fileState(file) && names.every((name) => held.has(name));
    });
  }

  /** Takes the place of what was noted before. A disk that takes no file is no reason not to serve. */
  note(tensors: readonly TensorRef[]): void {
    const nowMs = this.#now();
    const checked: Checked = { atMs: nowMs, bootMs: bootMs(nowMs), files: Object.fromEntries(Array.from(byFile(tensors), ([file, names]) => [file, { state: fileState(file), tensors: names }])) };
    try { replaceFile(this.#file, JSON.stringify(checked)); } catch { /* The next one reads everything. */ }
  }

  #read(): Checked | undefined {
    try { return schema.parse(JSON.parse(readFileSync(this.#file, "utf8"))); } catch { return undefined; }
  }
}

const bootMs = (nowMs: number): number => nowMs - uptime() * 1_000;

function byFile(tensors: readonly TensorRef[]): Map<string, string[]> {
  const names = new Map<string, string[]>();
  for (const { file, name } of tensors) {
    const own = names.get(file);
    if (own) own.push(name);
    else names.set(file, [name]);
  }
  return names;
}
