/** Other clusters with our name, seen on the same network: they stay apart, and both say so. */

const REMEMBER_MS = 60_000;
const FOREIGNERS_MAX = 16;

export interface Foreigner { readonly clusterId: string; readonly address: string }

export class Foreigners {
  readonly #seen = new Map<string, Foreigner & { readonly at: number }>();

  note(clusterId: string, address: string, now: number): void {
    const key = `${clusterId} ${address}`;
    if (!this.#seen.has(key) && this.#seen.size >= FOREIGNERS_MAX) return;
    this.#seen.set(key, { clusterId, address, at: now });
  }

  seen(now: number): readonly Foreigner[] {
    for (const [key, { at }] of this.#seen) if (now - at > REMEMBER_MS) this.#seen.delete(key);
    return [...this.#seen.values()].map(({ clusterId, address }) => ({ clusterId, address }));
  }
}
