/**
 * Small files about what runs now: written whole and renamed, so a reader never sees half of one. What must outlive a power cut is
 * written by durable-file.ts.
 */
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** Creates the directory (owner only) when it is missing. @throws the system's error; the old file is then still there, and nothing beside it. */
export function replaceFile(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const temporary = `${file}.${process.pid}`;
  try {
    writeFileSync(temporary, text, { mode: 0o600 });
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
