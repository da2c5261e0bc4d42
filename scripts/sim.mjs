// `npm run sim -- --seed N --runs M`: compiles the simulation with the cores it runs, then runs it.
import { spawnSync } from "node:child_process";

const compiled = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.sim.json"], { stdio: "inherit" });
if (compiled.status !== 0) process.exit(compiled.status ?? 1);
await import("../dist-sim/test/sim/main.js");
