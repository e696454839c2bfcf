// Bars over a common length of time. What a bar means stands in its row's words too, so the picture is decoration.

import { el } from "./dom.js";
import { seconds } from "./format.js";

/** `rows`: {label, href, from_s, parts: [[kind, seconds]], text, depth}. */
export function waterfall(caption, rows, total_s) {
  const width = Math.max(total_s, 1e-6);
  const legend = el("p", { class: "legend" }, [["wait", "waiting"], ["first", "until the first event"], ["stream", "stream"], ["lost", "given up or failed"], ["cache", "known answer"]].map(([kind, text]) => [el("span", { class: `swatch ${kind}`, "aria-hidden": "true" }), `${text} `]));
  return el(
    "div",
    { class: "waterfall" },
    legend,
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, el("table", {}, el("caption", {}, `${caption}; ${seconds(total_s)} in all`), el("thead", {}, el("tr", {}, ["what", "when", "how"].map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, rows.map((row) => line(row, width))))),
  );
}

function line(row, width) {
  const track = el("span", { class: "lane", "aria-hidden": "true" });
  let at = row.from_s;
  for (const [kind, length] of row.parts) {
    const piece = el("span", { class: `piece ${kind}` });
    piece.style.left = `${(100 * at) / width}%`;
    piece.style.width = `${Math.max((100 * length) / width, 0.15)}%`;
    track.append(piece);
    at += length;
  }
  const name = row.href ? el("a", { href: row.href, class: "open" }, row.label) : row.label;
  const cell = el("th", { scope: "row" }, name);
  cell.style.paddingInlineStart = `${0.5 + (row.depth ?? 0)}rem`;
  return el("tr", {}, cell, el("td", { class: "wide" }, track), el("td", {}, row.text));
}
