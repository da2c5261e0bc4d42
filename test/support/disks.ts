/** Disks that fail, for a node of a test: one that is full, and one that no longer reads. */
import { execFileSync } from "node:child_process";
import { closeSync, copyFileSync, linkSync, mkdirSync, openSync, readdirSync, realpathSync, renameSync, rmSync, statfsSync, writeSync } from "node:fs";
import { join } from "node:path";

const smallDiskBytesMax = 1 << 30;
const chunk = Buffer.alloc(1 << 16);

/** True where small file systems can be mounted. */
export const canMount = process.platform === "linux" && process.getuid?.() === 0;

/** A directory with a small disk of its own. Unmounted by `unmountSmallDisk`. */
export function mountSmallDisk(directory: string, megabytes: number): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m,mode=0700`, "tmpfs", directory]);
}

export function unmountSmallDisk(directory: string): void { execFileSync("umount", ["-l", directory]); }

/** Writes until nothing more fits. @param directory of `mountSmallDisk`: never the machine's own disk. @returns makes room again. */
export function fillDisk(directory: string): () => void {
  const { blocks, bsize } = statfsSync(directory);
  if (blocks * bsize > smallDiskBytesMax) throw new Error(`${directory} is not on a small disk of its own`);
  const path = join(directory, "filler");
  const file = openSync(path, "w");
  try {
    for (;;) writeSync(file, chunk);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
  } finally {
    closeSync(file);
  }
  return () => { rmSync(path, { force: true }); };
}

/** The model's files under another directory, sharing their bytes where the file system can. */
export function linkModel(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from)) {
    const source = realpathSync(join(from, name));
    try { linkSync(source, join(to, name)); } catch { copyFileSync(source, join(to, name)); }
  }
}

/** Whoever opens the weights from now on waits for ever, as on a dead network mount: each shard becomes a pipe that nobody writes. @returns undoes it. */
export function stallWeights(modelDirectory: string): () => void {
  const shards = readdirSync(modelDirectory).filter((name) => name.endsWith(".safetensors"));
  for (const shard of shards) {
    const path = join(modelDirectory, shard);
    renameSync(path, `${path}.real`);
    execFileSync("mkfifo", [path]);
  }
  return () => { for (const shard of shards) renameSync(join(modelDirectory, `${shard}.real`), join(modelDirectory, shard)); };
}
