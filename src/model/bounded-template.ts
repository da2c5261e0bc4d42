/**
 * A Jinja template that ends: templates come with models, so they are code from strangers, and run in the process that answers
 * heartbeats. Work and text are bounded; the bounds count steps and characters, not time, so that the same request has the same
 * outcome on a busy machine. There is no way from a template to JavaScript: its values are the interpreter's own, never objects of ours.
 */
import * as jinja from "@huggingface/jinja";

/** Nodes evaluated, with 64 characters of a text counted as one. Templates in use take some hundred a message, so each message adds its share. */
const stepsMax = 500_000;
const stepsAMessage = 1_000;
/** Of any text that comes up on the way. */
export const templateCharsMax = 8 << 20;
/** Of a list that `range` makes, and of an indentation. */
const rangeMax = 100_000;
const indentMax = 1_000;
const charsAStep = 64;
/** A turn of a loop makes a scope of its own. */
const turnSteps = 20;

/** A value of the interpreter's own: what is inside is a text, a number, a list of such values, … */
interface Value { readonly value: unknown }
interface Environment { set(name: string, value: unknown): unknown }
interface Interpreter {
  evaluate(node: unknown, environment: Environment): Value;
  run(program: unknown): Value;
}
// The package's types of these two do not resolve under Node's rules (it imports without extensions): here is what is used of them.
const LibraryInterpreter: new (environment: Environment) => Interpreter = jinja.Interpreter;
const LibraryEnvironment: new () => Environment = jinja.Environment;

class BoundedInterpreter extends LibraryInterpreter {
  #stepsLeft: number;
  /** What loops go over: a turn of an empty loop evaluates nothing, so it is counted by the list's length. */
  readonly #looped = new Set<unknown>();

  constructor(environment: Environment, steps: number) {
    super(environment);
    this.#stepsLeft = steps;
  }

  override evaluate(node: unknown, environment: Environment): Value {
    this.#count(1);
    if (isObject(node) && "filter" in node) this.#checkFilter(node.filter, environment);
    if (isObject(node) && node["type"] === "For") this.#looped.add(isObject(node["iterable"]) && node["iterable"]["type"] === "SelectExpression" ? node["iterable"]["lhs"] : node["iterable"]);
    const value = super.evaluate(node, environment);
    const { value: inside } = value;
    if (typeof inside === "string") {
      if (inside.length > templateCharsMax) throw new Error(`it makes a text of more than ${templateCharsMax} characters`);
      this.#count(inside.length / charsAStep);
    } else if (Array.isArray(inside)) this.#count(this.#looped.has(node) ? inside.length * turnSteps : inside.length / charsAStep);
    else if (inside instanceof Map && this.#looped.has(node)) this.#count(inside.size * turnSteps);
    return value;
  }

  #count(steps: number): void {
    this.#stepsLeft -= steps;
    if (this.#stepsLeft < 0) throw new Error("it does not come to an end within the work that these messages are worth");
  }

  /** `indent(n)` and `tojson(indent=n)` make n blanks in one step. */
  #checkFilter(filter: unknown, environment: Environment): void {
    if (!isObject(filter) || !Array.isArray(filter["args"])) return;
    const { callee } = filter;
    if (!isObject(callee) || (callee["value"] !== "indent" && callee["value"] !== "tojson")) return;
    for (const argument of filter["args"] as unknown[]) {
      const node = isObject(argument) && "key" in argument ? argument["value"] : argument;
      if (!isObject(node) || String(node["type"]).endsWith("SpreadExpression")) continue;
      const { value } = this.evaluate(node, environment);
      if (typeof value === "number" && !(value <= indentMax)) throw new Error(`it indents by ${value}, and at most ${indentMax} is allowed`);
    }
  }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;

/** The library's own clock function, which it does not export. */
const clock = new jinja.Template("{{ strftime_now(format) }}");

export class BoundedTemplate {
  readonly #template: jinja.Template;

  /** @throws Error when it does not parse. */
  constructor(source: string) { this.#template = new jinja.Template(source); }

  /** @param messages how many there are. @throws Error with the reason, in words that follow "the template refuses: ". */
  render(variables: Readonly<Record<string, unknown>>, messages: number): string {
    const environment = new LibraryEnvironment();
    for (const [name, value] of Object.entries({ ...globals, ...variables })) environment.set(name, value);
    const { value } = new BoundedInterpreter(environment, stepsMax + stepsAMessage * messages).run(this.#template.parsed);
    return typeof value === "string" ? value : "";
  }
}

const globals: Readonly<Record<string, unknown>> = {
  true: true, false: false, none: null, True: true, False: false, None: null,
  raise_exception: (message: unknown) => { throw new Error(String(message)); },
  range,
  strftime_now: (format: unknown) => {
    if (typeof format !== "string" || format.length > indentMax) throw new Error("strftime_now takes a short text");
    return clock.render({ format });
  },
};

function range(first: unknown, second?: unknown, step: unknown = 1): number[] {
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  if (typeof start !== "number" || typeof stop !== "number" || typeof step !== "number" || step === 0) throw new Error("range takes numbers, and a step that is not zero");
  const count = Math.max(0, Math.ceil((stop - start) / step));
  if (!(count <= rangeMax)) throw new Error(`range makes ${count} numbers, and at most ${rangeMax} are allowed`);
  return Array.from({ length: count }, (_, index) => start + index * step);
}
