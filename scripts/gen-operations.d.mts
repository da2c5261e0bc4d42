export function operationsDoc(catalogue: ReadonlyMap<string, { readonly code: string; readonly title: string; readonly meaning: string; readonly remedy: string }>, before: string): string;
export function writtenEntries(text: string): Map<string, string>;
