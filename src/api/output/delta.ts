/** What an answer's text turns out to be, piece by piece: the common tongue of the parsers here and the protocols above. */
export type Delta =
  | { readonly kind: "content"; readonly text: string }
  /** What a model that thinks says to itself. */
  | { readonly kind: "reasoning"; readonly text: string }
  /** A tool call begins; `index` counts the answer's calls from 0. */
  | { readonly kind: "call"; readonly index: number; readonly id: string; readonly name: string }
  /** More of the call's arguments: JSON text. */
  | { readonly kind: "arguments"; readonly index: number; readonly text: string };

/** Text in, deltas out. Pure; the deltas put together do not depend on how the text was cut. */
export interface OutputParser {
  push(text: string): readonly Delta[];
  /** The answer is over: what was held back. */
  end(): readonly Delta[];
}

export const plainText: OutputParser = {
  push: (text) => text === "" ? [] : [{ kind: "content", text }],
  end: () => [],
};
