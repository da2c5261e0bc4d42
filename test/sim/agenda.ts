/** Virtual time: what happens next, in order of time and then of having been planned. A binary heap; the loop runs what is on top. */
interface Item { readonly at: number; readonly order: number; readonly run: () => void }

export class Agenda {
  readonly #heap: Item[] = [];
  #order = 0;
  /** Milliseconds since the world began. */
  now = 0;

  at(time: number, run: () => void): void {
    const heap = this.#heap;
    this.#order += 1;
    const item: Item = { at: time < this.now ? this.now : time, order: this.#order, run };
    let index = heap.length;
    heap.push(item);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent] as Item;
      if (above.at < item.at || (above.at === item.at && above.order < item.order)) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = item;
  }

  after(delayMs: number, run: () => void): void { this.at(this.now + delayMs, run); }

  /** Runs everything up to and including `time`. */
  runUntil(time: number): void {
    for (let top = this.#heap[0]; top && top.at <= time; top = this.#heap[0]) {
      this.#removeTop();
      this.now = top.at;
      top.run();
    }
    this.now = time;
  }

  #removeTop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Item;
    const size = heap.length;
    if (size === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= size) break;
      const right = heap[child + 1];
      let least = heap[child] as Item;
      if (right && (right.at < least.at || (right.at === least.at && right.order < least.order))) { least = right; child += 1; }
      if (last.at < least.at || (last.at === least.at && last.order < least.order)) break;
      heap[index] = least;
      index = child;
    }
    heap[index] = last;
  }
}
