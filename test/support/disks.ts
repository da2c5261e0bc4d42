/** Disks that fail, for a node of a test: one that is full, and one that no longer reads. */
import { execFileSync } from "node:child_process";
import { chmodSync, closeSync, copyFileSync, cpSync, linkSync, mkdirSync, openSync, readdirSync, realpathSync, renameSync, rmSync, statSync, statfsSync, writeSync } from "node:fs";
import { join } from "node:path";

const smallDiskBytesMax = 1 << 30;
const chunk = Buffer.alloc(1 << 16);
const dyingDiskMegabytes = 256;

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

/** Whoever opens a file there from now on finds a read-only file system; what is open stays so. @returns undoes it. */
export function readOnly(directory: string): () => void {
  execFileSync("mount", ["--bind", directory, directory]);
  execFileSync("mount", ["-o", "remount,ro,bind", directory]);
  return () => { unmountSmallDisk(directory); };
}

/** Puts a file system of its own under a directory that is in use: what is in it moves onto it. @param mount mounts it there. */
export function moveOnto(directory: string, mount: (directory: string) => void): void {
  const aside = `${directory}.moving`;
  cpSync(directory, aside, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
  mount(directory);
  cpSync(aside, directory, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
  chmodSync(directory, statSync(aside).mode);
  rmSync(aside, { recursive: true });
}

/**
 * A disk whose sectors can be made unreadable: ext4 in a sparse file, by a loop device. The file is cut in front of the first byte of anybody's
 * data, and the small file system that it lies on has no room for it to grow again: every read of data that is not in memory, and every write
 * of new data, fails, while names and sizes can still be read.
 */
export class DyingDisk {
  readonly #backing: string;
  readonly #image: string;
  readonly #sound: string;
  readonly #directory: string;
  #makeRoom: () => void = () => undefined;

  /** @param scratch for a copy of what is on the disk. @param directory where it is mounted, made when it is not there. */
  constructor(scratch: string, directory: string) {
    this.#backing = join(scratch, `disk-${process.pid}-${performance.now().toFixed(0)}`);
    this.#image = join(this.#backing, "image");
    this.#sound = `${this.#backing}.sound`;
    this.#directory = directory;
    mountSmallDisk(this.#backing, dyingDiskMegabytes);
    mkdirSync(directory, { recursive: true });
    execFileSync("truncate", ["-s", `${dyingDiskMegabytes}M`, this.#image]);
    execFileSync("mkfs.ext4", ["-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=0", this.#image]);
    execFileSync("mount", ["-o", "loop,errors=continue", this.#image, directory]);
  }

  /** From now on. What was read of it before is forgotten. */
  fail(): void {
    execFileSync("sync", ["-f", this.#directory]);
    execFileSync("cp", ["--sparse=always", this.#image, this.#sound]);
    const files = readdirSync(this.#directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
    const first = Math.min(...files.map(firstByte));
    for (const file of files) execFileSync("dd", [`if=${file}`, "iflag=nocache", "count=0", "status=none"]);
    execFileSync("truncate", ["-s", String(first), this.#image]);
    this.#makeRoom = fillDisk(this.#backing);
  }

  /** Every sector as it was. */
  heal(): void {
    this.#makeRoom();
    execFileSync("truncate", ["-s", `${dyingDiskMegabytes}M`, this.#image]);
    execFileSync("dd", [`if=${this.#sound}`, `of=${this.#image}`, "conv=notrunc,sparse", "bs=1M", "status=none"]);
    rmSync(this.#sound);
  }

  remove(): void {
    unmountSmallDisk(this.#directory);
    unmountSmallDisk(this.#backing);
    rmSync(this.#backing, { recursive: true, force: true });
    rmSync(this.#sound, { force: true });
  }
}

/** Where on its disk a file begins; Infinity for an empty one. */
function firstByte(file: string): number {
  const said = execFileSync("filefrag", ["-v", file], { encoding: "utf8" });
  const blockBytes = Number(/blocks? of (\d+) bytes/u.exec(said)?.[1]);
  const blocks = [...said.matchAll(/^\s*\d+:\s*\d+\.\.\s*\d+:\s*(\d+)\.\./gmu)].map(([, block]) => Number(block));
  return blocks.length === 0 ? Infinity : Math.min(...blocks) * blockBytes;
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
