/** Several answers to one prompt, as one stream of their pieces. */
import type { AnswerPiece, AnswerRequest } from "./answer.js";
import { seedWithin } from "./sampling.js";

/** Several sources as one, with each item's source. @throws whatever a failing source throws */
export type Interleave = <T>(iterators: readonly AsyncIterator<T>[]) => AsyncGenerator<{ readonly index: number; readonly item: T }>;

export interface ChoicePiece { readonly choice: number; readonly piece: AnswerPiece }

/** 2^53 times the golden ratio's fraction: neighbouring seeds of two requests do not meet. */
const seedStride = 5_566_755_282_872_655n;

/** The request of choice `choice`, 0-based; choice 0 is the request itself. */
export function choiceRequest(request: AnswerRequest, choice: number): AnswerRequest {
  if (choice === 0) return request;
  const { generate } = request;
  const seed = seedWithin(Number((BigInt(generate.sampling.seed) + BigInt(choice) * seedStride) % (1n << 53n)));
  return { ...request, generate: { ...generate, requestId: `${generate.requestId}-${choice}`, sampling: { ...generate.sampling, seed } } };
}

/**
 * The first choice begins alone, the others when it has its first token: then the prompt is in the cache, and they share it.
 * @param start begins the answer of that choice; called once for each
 * @param interleave how the choices' pieces are put in a row
 * @throws whatever the first failing choice throws; leaving the iteration leaves all of them
 */
export async function* choices(count: number, start: (choice: number) => AsyncIterable<AnswerPiece>, interleave: Interleave): AsyncGenerator<ChoicePiece> {
  const first = start(0)[Symbol.asyncIterator]();
  const running = [first];
  try {
    for (;;) {
      const next = await first.next();
      if (next.done === true) break;
      yield { choice: 0, piece: next.value };
      if (count > 1 && next.value.kind === "text" && next.value.arrived > 0) break;
    }
    if (count === 1) return;
    for (let choice = 1; choice < count; choice += 1) running.push(start(choice)[Symbol.asyncIterator]());
    for await (const { index: choice, item: piece } of interleave(running)) yield { choice, piece };
  } finally {
    for (const iterator of running) iterator.return?.().catch(() => {});
  }
}

/** What several sources give, in the order in which it comes. @throws whatever the first failing source throws */
export async function* merged<T>(iterators: readonly AsyncIterator<T>[]): AsyncGenerator<{ readonly index: number; readonly item: T }> {
  const ready: { readonly index: number; readonly item: T }[] = [];
  let open = iterators.length;
  let failure: { readonly thrown: unknown } | undefined;
  let wake: () => void = () => {};
  const pull = async (index: number, iterator: AsyncIterator<T>) => {
    try {
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
        ready.push({ index, item: next.value });
        wake();
      }
    } catch (thrown) {
      failure ??= { thrown };
    }
    open -= 1;
    wake();
  };
  const pulls = iterators.map((iterator, index) => pull(index, iterator));
  for (;;) {
    while (ready.length > 0) yield ready.shift()!;
    if (failure !== undefined) throw failure.thrown;
    if (open === 0) break;
    await new Promise<void>((resolve) => { wake = resolve; });
  }
  await Promise.all(pulls);
}

/**
 * One item of each source in turn, for as long as it has any: the order depends on the items alone, not on when they come. All
 * sources are at work at once. @throws whatever the first failing source throws
 */
export async function* inTurn<T>(iterators: readonly AsyncIterator<T>[]): AsyncGenerator<{ readonly index: number; readonly item: T }> {
  const pull = (iterator: AsyncIterator<T>) => iterator.next().then((result) => ({ result }), (thrown: unknown) => ({ thrown }));
  let open = iterators.map((iterator, index) => ({ index, iterator, next: pull(iterator) }));
  while (open.length > 0) {
    const ended = new Set<number>();
    for (const source of open) {
      const next = await source.next;
      if ("thrown" in next) throw next.thrown;
      if (next.result.done === true) {
        ended.add(source.index);
        continue;
      }
      source.next = pull(source.iterator);
      yield { index: source.index, item: next.result.value };
    }
    open = open.filter(({ index }) => !ended.has(index));
  }
}
