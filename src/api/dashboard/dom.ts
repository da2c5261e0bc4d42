/** Making and changing elements. Text is always set as text: nothing that a model or a machine says is ever parsed as HTML. */

type Attributes = Readonly<Record<string, string | number | undefined>>;
type Child = Node | string | undefined;

export function html<K extends keyof HTMLElementTagNameMap>(name: K, attributes: Attributes = {}, ...children: readonly Child[]): HTMLElementTagNameMap[K] {
  return filled(document.createElement(name), attributes, children);
}

export function svg<K extends keyof SVGElementTagNameMap>(name: K, attributes: Attributes = {}, ...children: readonly Child[]): SVGElementTagNameMap[K] {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled<E extends Element>(element: E, attributes: Attributes, children: readonly Child[]): E {
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined) element.setAttribute(name, String(value));
  for (const child of children) if (child !== undefined) element.append(child);
  return element;
}

/** @throws when the page has no such element: its HTML and its script belong together. */
export function byId<E extends Element = HTMLElement>(id: string, type: new () => E): E {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`the page has no ${id}`);
  return element;
}

/** A sentence in which `commands` stand between backquotes. */
export function sentence(text: string): Child[] {
  return text.split("`").map((part, index) => (index % 2 === 1 ? html("code", {}, part) : part));
}

/** Only when it differs, so that nothing flickers and screen readers are not told twice. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Elements by key, in the order of the keys; those that stay are kept as they are. */
export function keyed<E extends Element>(parent: Element, known: Map<string, E>, keys: readonly string[], make: (key: string) => E): void {
  for (const [key, element] of known) if (!keys.includes(key)) { element.remove(); known.delete(key); }
  for (const [index, key] of keys.entries()) {
    let element = known.get(key);
    if (!element) { element = make(key); known.set(key, element); }
    if (parent.children[index] !== element) parent.insertBefore(element, parent.children[index] ?? null);
  }
}
