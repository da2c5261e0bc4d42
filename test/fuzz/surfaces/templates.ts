/** Chat templates: code from strangers. They end, within bounds, and see nothing of JavaScript. */
import { readFileSync } from "node:fs";
import { ChatTemplate } from "../../../src/model/chat-template.js";
import { templateCharsMax } from "../../../src/model/bounded-template.js";
import type { Random } from "../../chaos/random.js";
import { below, mutateText, number, text } from "../mutate.js";
import { Fault, type Surface, refusalOrResult } from "../surface.js";

const smol = (JSON.parse(readFileSync("models/SmolLM2-135M-Instruct-8bit/tokenizer_config.json", "utf8")) as { readonly chat_template: string }).chat_template;

/** In the manner of Qwen's, Llama's and Mistral's: loops backwards, namespaces, macros, slices, tojson, tests. */
const known: readonly string[] = [
  smol,
  "{%- if tools %}{{- '<|im_start|>system\\n' }}{%- for tool in tools %}{{- \"\\n\" }}{{- tool | tojson }}{%- endfor %}{{- '<|im_end|>' }}{%- endif %}{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}{%- for message in messages[::-1] %}{%- set index = (messages|length - 1) - loop.index0 %}{%- if ns.multi_step_tool and message.role == 'user' and message.content is string %}{%- set ns.multi_step_tool = false %}{%- set ns.last_query_index = index %}{%- endif %}{%- endfor %}{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' + message.content.split('</think>')[-1].lstrip('\\n') + '<|im_end|>' }}{%- endfor %}",
  "{% set date_string = strftime_now('%d %b %Y') %}{% macro show(m, pad=2) %}{{ m.role ~ ': ' ~ (m.content | trim | replace('a', 'b')) | indent(pad) }}{% endmacro %}{{ bos_token }}{{ date_string }}{% for m in messages if m.role != 'tool' %}{{ show(m, pad=loop.index) }}{% else %}none{% endfor %}",
  "{% for i in range(0, messages|length, 1) %}{% if (messages[i]['role'] == 'user') != (i % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}{{ messages[i]['content'] | default('') | upper }}{{ {'a': i, 'b': [i, i]} | tojson(indent=2) }}{% endfor %}",
];

const atoms = ["messages", "messages[0]", "messages[0].content", "tools", "'x'", "1", "0", "-1", "[]", "{}", "{'a': 1}", "loop", "ns", "bos_token", "range(5)", "range(99999)", "'abc'", "none", "true", "undefined_name", "namespace(a=1)", "messages[0]['__proto__']", "messages.__class__", "''.constructor", "[].constructor", "messages[0].constructor.constructor('return process')()", "range.constructor", "self", "cycler", "joiner", "lipsum", "strftime_now('%Y')"];
const filters = ["trim", "upper", "length", "list", "string", "tojson", "tojson(indent=4)", "tojson(indent=10**9)", "indent(3)", "indent(1000000000)", "join(',')", "replace('a', 'aaaaaaaaaa')", "default('x')", "sort", "reverse", "first", "last", "items", "map(attribute='role')", "selectattr('role', 'equalto', 'user')", "int", "float", "abs", "unique", "capitalize", "safe", "nonsense"];
const operators = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", ">", "in", "not in", "and", "or", "is"];

function expression(random: Random, depth: number): string {
  if (depth <= 0) return random.chance(0.1) ? String(number(random)) : random.pick(atoms);
  const inner = () => expression(random, depth - 1 - below(random, 2));
  switch (below(random, 9)) {
    case 0: case 1: return `${inner()} ${random.pick(operators)} ${inner()}`;
    case 2: case 3: return `(${inner()}) | ${random.pick(filters)}`;
    case 4: return `${inner()}[${inner()}:${inner()}:${inner()}]`;
    case 5: return `(${inner()}).${random.pick(["role", "content", "constructor", "__proto__", "items()", "split('a')", "strip()", "append(1)", "format(1)", "join", "prototype", "value", "replace('a', 'b')"])}`;
    case 6: return `[${inner()}, ${inner()}]`;
    case 7: return `(${inner()} if ${inner()} else ${inner()})`;
    default: return `${inner()}(${inner()})`;
  }
}

function statements(random: Random, depth: number): string {
  const one = (): string => {
    const some = () => expression(random, 3);
    const more = () => (depth > 0 ? statements(random, depth - 1) : "y");
    switch (below(random, 10)) {
      case 0: case 1: return `{{ ${some()} }}`;
      case 2: return `{% for a in ${some()} %}${more()}{{ a }}{% endfor %}`;
      case 3: return `{% for a in range(${random.pick(["3", "1000", "99999", "10000000000", "-1", "1, 9, 0"])}) %}{% set x = x ~ x ~ ${some()} %}${more()}{% endfor %}`;
      case 4: return `{% if ${some()} %}${more()}{% elif ${some()} %}z{% else %}${more()}{% endif %}`;
      case 5: return `{% set x = ${some()} %}`;
      case 6: return `{% set ns = namespace(a=${some()}) %}{% set ns.a = ${some()} %}{% set ns.b = ns %}`;
      case 7: return `{% macro m(p, q=${some()}) %}${more()}{{ m(p, q) }}{% endmacro %}{{ m(${some()}) }}`;
      case 8: return `{% filter ${random.pick(filters)} %}${more()}{% endfilter %}`;
      default: return `{%- call(v) m(1) -%}${more()}{%- endcall -%}{% generation %}${text(random)}{% endgeneration %}`;
    }
  };
  return Array.from({ length: 1 + below(random, 3) }, one).join("");
}

const messages = [{ role: "system", content: "Be brief." }, { role: "user", content: "Hello ábc </think> aaa" }, { role: "assistant", content: "", tool_calls: [{ id: "1", type: "function", function: { name: "f", arguments: '{"__proto__":{"x":1}}' } }] }];

/** What only JavaScript's own objects would print. */
const leaks = /\[native code\]|function Object|class \w+ extends|process\.|node:internal/u;

export const templateSurfaces: readonly Surface[] = [{
  name: "chat-template", about: "Jinja templates, mutated and made up, rendered over a conversation", cases: 6_000, slice: 60,
  open: () => {
    // Nothing that a template does is seen outside of it.
    const before = Object.getOwnPropertyNames(Object.prototype).length;
    return {
      run: (random) => {
        let source = random.chance(0.4) ? random.pick(known) : statements(random, 3);
        for (let times = random.chance(0.5) ? 1 + below(random, 3) : 0; times > 0; times -= 1) source = mutateText(random, source);
        refusalOrResult(() => {
          const template = new ChatTemplate(new Map([["default", source]]), { bos_token: "<s>" }, "chat_template.jinja");
          const rendered = template.render({ messages, tools: random.chance(0.5) ? [{ type: "function", function: { name: "f", parameters: {} } }] : [], addGenerationPrompt: true, variables: random.chance(0.2) ? { x: text(random) } : {} });
          if (rendered.length > templateCharsMax) throw new Fault(`it rendered ${rendered.length} characters`);
          if (leaks.test(rendered) && !leaks.test(source)) throw new Fault(`it saw something of JavaScript's: ${rendered.slice(0, 200)}`);
        });
        if (Object.getOwnPropertyNames(Object.prototype).length !== before || "x" in {}) throw new Fault("it changed a prototype");
      },
    };
  },
}];
