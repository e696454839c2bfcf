// The only way in which this console makes elements: text is always a text node, so that nothing a model, an agent or an
// upstream has written can become markup.

export function el(tag, props, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  add(made, children);
  return made;
}

function add(parent, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) add(parent, child);
    else parent.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

export function fill(parent, ...children) {
  parent.replaceChildren();
  add(parent, children);
  return parent;
}

/** `columns`: [heading, how a row becomes a cell, "n" for numbers]; `open`: the address that a row leads to. */
export function table(caption, columns, rows, { open, empty = "nothing yet", key } = {}) {
  const body = rows.map((row) => line(columns, row, open, key));
  if (!rows.length) body.push(el("tr", {}, el("td", { colspan: columns.length, class: "quiet" }, empty)));
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el(
      "table",
      {},
      el("caption", {}, caption),
      el("thead", {}, el("tr", {}, columns.map(([name, , kind]) => el("th", { scope: "col", class: kind }, name)))),
      el("tbody", {}, body),
    ),
  );
}

function line(columns, row, open, key) {
  const href = open?.(row);
  const cells = columns.map(([, cell, kind], place) => {
    const content = cell(row);
    const shown = place === 0 && href ? el("a", { href, class: "open" }, content) : content;
    return el(place === 0 ? "th" : "td", { scope: place === 0 ? "row" : null, class: kind }, shown);
  });
  return el("tr", { "data-key": key ? key(row) : null }, cells);
}

/** A share of something as a bar, with its text beside it. */
export function bar(share, text, level = "") {
  const inner = el("span", { class: `fill ${level}` });
  inner.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return el("span", { class: "meter" }, el("span", { class: "track", "aria-hidden": "true" }, inner), el("span", {}, text));
}

export function section(title, ...children) {
  return el("section", {}, el("h2", {}, title), children);
}

export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl", { class: "facts" }, shown.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

/** State is told by a shape and a word, never by colour alone. */
export function mark(kind, text) {
  const shape = { good: "●", warn: "▲", bad: "■", idle: "○" }[kind];
  return el("span", { class: `mark ${kind}` }, el("span", { "aria-hidden": "true" }, shape), " ", text);
}
