/**
 * Runs a grammar over bytes. A state is the set of everything that may still follow, each as a stack of expressions; states and
 * their transitions are made when they are first needed and remembered, so that the common ones cost an array look-up.
 *
 * Work is bounded: a grammar whose states are too many to follow (`(a?){9999}`) reports that it is exhausted, and nothing may follow.
 *
 * Repetition counts are part of the stack, so `{0,1000}` makes no thousand copies. Stacks and sets are interned: equal means identical.
 */
import { invariant, unreachable } from "../../core/invariant.js";
import type { Expr } from "./expr.js";

/** No text can follow. */
export const dead = -1;
const unknown = -2;
/** The stack with nothing on it: the text may end here. */
const bottom = 0;
/** States kept before everything is forgotten: about 1 KB each. */
const statesMax = 20_000;

/** Stacks looked at for the tokens of one place in the text: 50 times what random schemas ask for, and about a second of rank 0's time. */
const workMax = 200_000;

interface Cell { readonly expr: Expr; readonly rest: number }
interface State { readonly cells: readonly number[]; readonly accepts: boolean; readonly next: Int32Array }

export class Automaton {
  readonly #root: Expr;
  /** Of more than this many repetitions left, no token can tell the difference. */
  readonly #horizon: number;
  #cells: Cell[] = [];
  #cellIds = new Map<Expr, Map<number, number>>();
  #repeats = new Map<Expr, Map<string, Expr>>();
  #states: State[] = [];
  #stateIds = new Map<string, number>();
  #generation = 0;
  #start = dead;
  #work = 0;

  /** @param horizon bytes of the longest token */
  constructor(root: Expr, horizon: number) {
    this.#root = root;
    this.#horizon = horizon;
    this.#forget();
  }

  /** Rises when all states were forgotten: numbers of an earlier generation mean nothing. */
  get generation(): number { return this.#generation; }
  get start(): number { return this.#start; }
  accepts(state: number): boolean { return this.#states[state]?.accepts ?? false; }

  /** To be called between tokens, never during a walk: the work is counted from here, and all states may be forgotten. */
  makeRoom(): void {
    this.#work = 0;
    if (this.#states.length >= statesMax) this.#forget();
  }

  /** True when the bound on work was met since `makeRoom`: what was computed since means nothing. */
  get exhausted(): boolean { return this.#work > workMax; }

  step(state: number, value: number): number {
    const from = this.#states[state];
    invariant(from, "a state of another generation");
    const known = from.next[value]!;
    if (known !== unknown) return known;
    const reached: number[] = [];
    // All bytes that no stack tells apart from this one lead to the same state.
    let [low, high] = [0, 255];
    for (const id of from.cells) {
      const { expr, rest } = this.#cells[id]!;
      if (expr.kind !== "byte") continue;
      if (value > expr.high) low = Math.max(low, expr.high + 1);
      else if (value < expr.low) high = Math.min(high, expr.low - 1);
      else {
        reached.push(rest);
        low = Math.max(low, expr.low);
        high = Math.min(high, expr.high);
      }
    }
    const to = reached.length === 0 ? dead : this.#state(reached);
    if (this.exhausted) return dead;
    from.next.fill(to, low, high + 1);
    return to;
  }

  /** A state that allows the same tokens and is the same for all large counts: under it what was computed can be kept. */
  canonical(state: number): number {
    const { cells, accepts } = this.#states[state]!;
    const clamped = cells.map((cell) => this.#clamp(cell));
    return clamped.every((cell, index) => cell === cells[index]) ? state : this.#intern(clamped, accepts);
  }

  #forget(): void {
    this.#cells = [];
    this.#cellIds = new Map();
    this.#repeats = new Map();
    this.#states = [];
    this.#stateIds = new Map();
    this.#generation += 1;
    // Takes the number 0: `bottom` is no real cell.
    this.#cells.push({ expr: this.#root, rest: bottom });
    this.#start = this.#state([this.#cons(this.#root, bottom)]);
  }

  #cons(expr: Expr, rest: number): number {
    let byRest = this.#cellIds.get(expr);
    if (!byRest) this.#cellIds.set(expr, byRest = new Map());
    let id = byRest.get(rest);
    if (id === undefined) {
      id = this.#cells.push({ expr, rest }) - 1;
      byRest.set(rest, id);
    }
    return id;
  }

  #repeat(item: Expr, min: number, max: number): Expr {
    let byCount = this.#repeats.get(item);
    if (!byCount) this.#repeats.set(item, byCount = new Map());
    const key = `${min},${max}`;
    let expr = byCount.get(key);
    if (!expr) byCount.set(key, expr = { kind: "repeat", item, min, max });
    return expr;
  }

  /** The state of all that may follow these stacks; dead when nothing can. */
  #state(stacks: readonly number[]): number {
    const seen = new Set<number>();
    const cells: number[] = [];
    let accepts = false;
    const pending = [...stacks];
    for (let stack = pending.pop(); stack !== undefined; stack = pending.pop()) {
      if (seen.has(stack)) continue;
      this.#work += 1;
      if (this.exhausted) return dead;
      seen.add(stack);
      if (stack === bottom) { accepts = true; continue; }
      const { expr, rest } = this.#cells[stack]!;
      switch (expr.kind) {
        case "byte": cells.push(stack); break;
        case "sequence": pending.push(expr.items.reduceRight((below, item) => this.#cons(item, below), rest)); break;
        case "choice": for (const item of expr.items) pending.push(this.#cons(item, rest)); break;
        case "reference": pending.push(this.#cons(expr.target(), rest)); break;
        case "repeat": {
          const { item, min, max } = expr;
          if (max > 0) pending.push(this.#cons(item, this.#cons(this.#repeat(item, Math.max(0, min - 1), max - 1), rest)));
          if (min === 0) pending.push(rest);
          break;
        }
        default: unreachable(expr);
      }
    }
    return cells.length === 0 && !accepts ? dead : this.#intern(cells, accepts);
  }

  #intern(cells: readonly number[], accepts: boolean): number {
    const sorted = [...new Set(cells)].sort((a, b) => a - b);
    const key = `${accepts}:${sorted.join(",")}`;
    let id = this.#stateIds.get(key);
    if (id === undefined) {
      id = this.#states.push({ cells: sorted, accepts, next: new Int32Array(256).fill(unknown) }) - 1;
      this.#stateIds.set(key, id);
    }
    return id;
  }

  #clamp(cell: number): number {
    if (cell === bottom) return cell;
    const { expr, rest } = this.#cells[cell]!;
    const below = this.#clamp(rest);
    if (expr.kind !== "repeat") return below === rest ? cell : this.#cons(expr, below);
    const min = Math.min(expr.min, this.#horizon + 1);
    const max = expr.max > this.#horizon + min ? Infinity : expr.max;
    return this.#cons(min === expr.min && max === expr.max ? expr : this.#repeat(expr.item, min, max), below);
  }
}
