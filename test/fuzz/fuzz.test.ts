/** A short slice of every surface, with a fresh seed each time; `npm run fuzz` is the long one. */
import { describe, expect, it } from "vitest";
import { runSurface } from "./run.js";
import { surfaces } from "./surfaces.js";

const seed = Number(process.env["MINID_FUZZ_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
console.log(`fuzz: seed ${seed} (replay: MINID_FUZZ_SEED=${seed}, or npm run fuzz -- --surface NAME --seed ${seed} --case INDEX)`);

describe(`seed ${seed}`, () => {
  it.each(surfaces.filter(({ slice }) => slice > 0))("$name: $about", async (surface) => {
    const { faults } = await runSurface(surface, { seed, first: 0, cases: surface.slice });
    expect(faults).toEqual([]);
  }, 120_000);
});
