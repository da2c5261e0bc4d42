/**
 * Memory that JavaScript's collector knows nothing of: anonymous regions whose pages cost nothing until touched and can be
 * given back one by one, and read-only maps of weight files. Addresses are bigints, as koffi has them.
 *
 * Invariant: a region is page-aligned, zero until written, and its pages are zero again after `discard` (Linux) or may be (macOS).
 */
import { closeSync, openSync } from "node:fs";
import koffi from "koffi";
import { invariant } from "../../../core/invariant.js";
import { MinidError } from "../../../core/errors.js";
import { openLibrary } from "./library.js";

const protRead = 1;
const protWrite = 2;
const mapShared = 1;
const mapPrivate = 2;
const linux = process.platform === "linux";
/** <sys/mman.h>: the same name has another number on macOS. */
const mapAnonymous = linux ? 0x20 : 0x1000;
const mapNoReserve = linux ? 0x4000 : 0x40;
const adviseDontNeed = 4;
/** macOS: the pages may be reclaimed at once; its DONTNEED is only a hint and keeps them. */
const adviseFree = 5;
const adviseNoHugePage = 15;
const mapFailed = (1n << 64n) - 1n;

export interface Libc {
  copy(to: bigint, from: bigint, byteLength: number): void;
  mapAnonymous(byteLength: number): bigint;
  mapFile(file: string, byteLength: number): bigint;
  unmap(address: bigint, byteLength: number): void;
  /** Gives whole pages of an anonymous region back to the system; their content is lost. */
  discard(address: bigint, byteLength: number): void;
  /** Lets go of a file map's pages: they stay in the system's cache and come back when touched. */
  release(address: bigint, byteLength: number): void;
  /** Sets a variable of the process itself: `process.env` of a worker thread is only a copy. */
  setEnvironment(name: string, value: string): void;
  /** Asks malloc to return what it does not use (glibc only). */
  trim(): void;
  readonly pageBytes: number;
}

export function openLibc(): Libc {
  const library = openLibrary(null);
  const mmap = library.func("mmap", "void *", ["void *", "size_t", "int", "int", "int", "int64_t"]);
  const munmap = library.func("munmap", "int", ["void *", "size_t"]);
  const madvise = library.func("madvise", "int", ["void *", "size_t", "int"]);
  const memcpy = library.func("memcpy", "void *", ["void *", "void *", "size_t"]);
  const setenv = library.func("setenv", "int", ["str", "str", "int"]);
  const getpagesize = library.func("getpagesize", "int", []);
  const mallocTrim = linux && hasSymbol(() => library.symbol("malloc_trim")) ? library.func("malloc_trim", "int", ["size_t"]) : undefined;
  const pageBytes = Number(getpagesize());

  const map = (byteLength: number, protection: number, flags: number, descriptor: number, what: string): bigint => {
    const address: unknown = mmap(null, byteLength, protection, flags, descriptor, 0);
    if (typeof address !== "bigint" || address === mapFailed) {
      throw new MinidError("engine_failed", `mmap of ${byteLength} bytes for ${what} failed (errno ${koffi.errno()}): give the process more address space, or configure fewer slots or a shorter context`);
    }
    return address;
  };

  return {
    pageBytes,
    copy(to, from, byteLength) { memcpy(to, from, byteLength); },
    mapAnonymous(byteLength) {
      const address = map(byteLength, protRead | protWrite, mapPrivate | mapAnonymous | mapNoReserve, -1, "an anonymous region");
      // With transparent huge pages set to `always`, one touched token would cost 2 MiB.
      if (linux) madvise(address, byteLength, adviseNoHugePage);
      return address;
    },
    mapFile(file, byteLength) {
      const descriptor = openSync(file, "r");
      try { return map(byteLength, protRead, mapShared, descriptor, file); } finally { closeSync(descriptor); }
    },
    unmap(address, byteLength) { munmap(address, byteLength); },
    discard(address, byteLength) {
      const page = BigInt(pageBytes);
      const first = (address + page - 1n) / page * page;
      const end = (address + BigInt(byteLength)) / page * page;
      if (end > first) madvise(first, Number(end - first), linux ? adviseDontNeed : adviseFree);
    },
    release(address, byteLength) { madvise(address, byteLength, adviseDontNeed); },
    setEnvironment(name, value) { setenv(name, value, 1); },
    trim() { if (mallocTrim) mallocTrim(0); },
  };
}

function hasSymbol(find: () => unknown): boolean {
  try { find(); return true; } catch { return false; }
}

/** The address of a typed array's first byte; valid while the array is referenced (V8 does not move backing stores). */
export function addressOf(array: ArrayBufferView): bigint {
  const address: unknown = koffi.address(array);
  invariant(typeof address === "bigint", "koffi gives addresses as bigints");
  return address;
}

/** A typed-array window on native memory. It must not be used after the memory is unmapped. */
export function viewBytes(address: bigint, byteLength: number): ArrayBuffer {
  return koffi.view(address, byteLength);
}
