/** A JSON schema that cannot be turned into a grammar: where in it, and why. */
export class SchemaError extends Error {
  override readonly name = "SchemaError";
  /** Keys and indexes from the schema's root. */
  readonly path: readonly (string | number)[];

  constructor(path: readonly (string | number)[], message: string) {
    super(message);
    this.path = path;
  }
}
