export function errorsDoc(catalogue: Readonly<Record<string, object>>, grpcNames: ReadonlyMap<number, string>): string;
export function grpcNamesOf(status: Readonly<Record<string, number>>): Map<number, string>;
