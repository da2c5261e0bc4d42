/** Names that must not be mixed up, and the order of epochs. */

declare const brand: unique symbol;
type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/** A machine's durable identity: the lower-case hex of 16 random bytes, made at its first start. */
export type NodeId = Brand<string, "NodeId">;
/** Milliseconds of a monotonic clock; comparable only within one process. */
export type Millis = Brand<number, "Millis">;

export const nodeId = (text: string): NodeId => text as NodeId;
export const millis = (value: number): Millis => value as Millis;

/** A leadership term. Total order: counter first, then node id. Durable, ever rising. */
export interface Epoch {
  readonly counter: number;
  readonly nodeId: NodeId;
}

/** Before every election: lower than any epoch that a node can announce. */
export const epochZero: Epoch = Object.freeze({ counter: 0, nodeId: nodeId("") });

/** @returns negative when `a` is older than `b`, 0 when they are the same term, positive when newer. */
export function compareEpochs(a: Epoch, b: Epoch): number {
  if (a.counter !== b.counter) return a.counter - b.counter;
  return a.nodeId < b.nodeId ? -1 : a.nodeId > b.nodeId ? 1 : 0;
}

export const sameEpoch = (a: Epoch, b: Epoch): boolean => compareEpochs(a, b) === 0;
export const epochText = (epoch: Epoch): string => `${epoch.counter}@${epoch.nodeId.slice(0, 8)}`;
