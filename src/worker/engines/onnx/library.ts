/**
 * Finds and opens the libonnxruntime that ships inside the onnxruntime-node package, and the C library.
 *
 * Invariant: the object that `koffi.load` returns stays referenced for the life of the process; otherwise a garbage
 * collection unloads the library under our feet. Node caches this module, and `libraries` is written once.
 * Deliberately not done: any download. What the package has for this platform is used, or nothing.
 */
import { existsSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import koffi from "koffi";
import type { LibraryHandle } from "koffi";
import { MinidError } from "../../../core/errors.js";

const libraryNames: Record<string, string> = { linux: "libonnxruntime.so.1", darwin: "libonnxruntime.1.dylib" };

/** @returns the real path of the shared library for this machine. @throws MinidError engine_unavailable */
export function onnxruntimeLibraryPath(platform: string = process.platform, architecture: string = process.arch): string {
  const name = libraryNames[platform];
  if (name === undefined) throw new MinidError("engine_unavailable", `the onnx engine has no library for ${platform}: use Linux or macOS`);
  let packageJson: string;
  try {
    packageJson = createRequire(import.meta.url).resolve("onnxruntime-node/package.json");
  } catch (error) {
    throw new MinidError("engine_unavailable", "the package onnxruntime-node is not installed: run npm ci", { cause: error });
  }
  const file = path.join(path.dirname(packageJson), "bin", "napi-v6", platform, architecture, name);
  if (!existsSync(file)) {
    throw new MinidError("engine_unavailable", `onnxruntime-node has no library for ${platform}/${architecture} (looked for ${file}): use the mlx engine on this machine`);
  }
  return realpathSync(file);
}

/** @throws MinidError engine_unavailable when the dynamic linker refuses the library. */
export function openLibrary(file: string | null): LibraryHandle {
  try {
    return koffi.load(file);
  } catch (error) {
    throw new MinidError("engine_unavailable", `${file ?? "the C library"} does not load: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
