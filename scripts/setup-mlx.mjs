// Fetches node-mlx's native binary on a Mac by the package's own installer, once. npm does not run it: .npmrc forbids install scripts.
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname } from "node:path";

const require = createRequire(import.meta.url);

/** The tarball ships a Linux binary; anything else on this machine fails to load. In a process of its own, since a failed native load is remembered. */
const loads = () => spawnSync(process.execPath, ["-e", "require('@frost-beta/mlx')"], { cwd: import.meta.dirname, stdio: "ignore" }).status === 0;

if (process.platform === "darwin" && !loads()) {
  console.log("minid: installing node-mlx's library, once");
  const directory = dirname(require.resolve("@frost-beta/mlx/package.json"));
  process.exitCode = spawnSync(process.execPath, ["install.js"], { cwd: directory, stdio: "inherit" }).status ?? 1;
}
