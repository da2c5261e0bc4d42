import { describe, expect, it } from "vitest";
import { BoundedTemplate, templateCharsMax } from "../../../src/model/bounded-template.js";

const render = (source: string, variables: Readonly<Record<string, unknown>> = {}) => new BoundedTemplate(source).render(variables, 1);

describe("a chat template from a stranger", () => {
  it.each([
    ["does not end", "{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}", /does not come to an end/u],
    ["counts far", "{% for i in range(10000000000) %}x{% endfor %}", /at most 100000/u],
    ["grows without bound", "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}", new RegExp(`more than ${templateCharsMax}|come to an end`, "u")],
    ["indents far", "{{ 'a\nb' | indent(900000000) }}", /indents by 900000000/u],
  ])("is refused when it %s", (_, source, why) => { expect(() => render(source)).toThrow(why); });

  it("sees nothing of JavaScript's objects", () => {
    for (const source of ["{{ ''.constructor }}", "{{ m.constructor }}", "{{ m['__proto__'] }}", "{{ range.constructor }}"]) expect(render(source, { m: { role: "user" } })).toBe("");
  });
});
