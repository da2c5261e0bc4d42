/**
 * Modules of the compiled tree, for tests of what starts processes or threads: under TypeScript sources on Node 20 a worker
 * thread does not start. `npm test` compiles first; a single file run by hand needs `npm run build` before.
 */
import { fileURLToPath } from "node:url";

const dist = new URL("../../dist/", import.meta.url);

/** @param path from the tree's root, `cli/pm2.js`. Give the source module's type: `import type * as Pm2 from "../../src/cli/pm2.js"`, `compiled<typeof Pm2>("cli/pm2.js")`. */
export async function compiled<Module>(path: string): Promise<Module> {
  return await import(new URL(path, dist).href) as Module;
}

export const compiledPath = (path: string): string => fileURLToPath(new URL(path, dist));
