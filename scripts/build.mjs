// `npm run build`: the product to dist/. The dashboard is a program of its own, for browsers; its page and sheet are copied beside it.
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";

const dashboard = join("src", "api", "dashboard");
const target = join("dist", "api", "dashboard");

for (const project of ["tsconfig.json", join(dashboard, "tsconfig.json")]) {
  const { status } = spawnSync(process.execPath, [join("node_modules", "typescript", "bin", "tsc"), "-p", project], { stdio: "inherit" });
  if (status !== 0) process.exitCode = 1;
}
mkdirSync(target, { recursive: true });
for (const file of readdirSync(dashboard)) if (/\.(?:html|css|svg)$/u.test(file)) copyFileSync(join(dashboard, file), join(target, file));
