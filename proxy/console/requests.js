// What happened here? Calls by filters that stand in the address; one call with its decision in words, its attempts in
// time, and its price line by line.

import { get, query } from "./api.js";
import { el, facts, fill, section, table } from "./dom.js";
import { count, instant, picos, seconds, usd } from "./format.js";
import { callAddress, callColumns, callState } from "./live.js";
import { waterfall } from "./waterfall.js";

export const title = "Requests";
const PAGE = 50;
const FILTERS = ["agent", "model", "run", "target", "status", "error", "served_by", "key", "team"];

export function show(main, { id, params }, page) {
  return id ? one(main, id, page) : list(main, params, page);
}

function list(main, params, page) {
  const given = Object.fromEntries([...FILTERS, "since", "before"].map((name) => [name, params.get(name) ?? ""]));
  const since = [["", "any time"], ["15m", "15 minutes"], ["1h", "1 hour"], ["1d", "1 day"], ["7d", "7 days"]];
  const form = el(
    "form",
    { class: "filters", onsubmit: (event) => (event.preventDefault(), page.go("/requests", Object.fromEntries(new FormData(form)))) },
    FILTERS.map((name) => el("label", {}, `${name.replace("_", " ")} `, el("input", { name, value: given[name] }))),
    el("label", {}, "since ", el("select", { name: "since" }, since.map(([value, text]) => el("option", { value, selected: value === given.since }, text)))),
    el("button", {}, "Filter"),
    " ",
    el("a", { href: "#/requests" }, "Clear"),
  );
  const found = el("div", {});
  fill(main, el("h1", {}, title), form, found);
  page.ask(async () => {
    const calls = await get(`/requests${query({ ...given, limit: PAGE })}`, page.signal);
    const next = calls.before === null ? null : el("a", { href: `#/requests${query({ ...given, before: calls.before })}` }, calls.rows.length < PAGE ? "Look further back" : "Older calls");
    const note = calls.looked_back_to ? el("p", { class: "quiet" }, `Looked back to ${instant(calls.looked_back_to)}; there are older calls.`) : null;
    fill(found, table("Calls that fit, latest first", callColumns, calls.rows, { open: callAddress, key: (call) => call.request_id, empty: "no call of that kind" }), note, el("p", {}, next));
  });
}

function attemptRow(row) {
  const waited = row.first_event_s ?? row.duration_s;
  const lost = row.lesson !== "success";
  const parts = lost ? [["lost", row.duration_s]] : [["first", waited], ["stream", Math.max(0, row.duration_s - waited)]];
  const words = [row.role, row.lesson, seconds(row.duration_s), usd(row.cost_usd_nanos)];
  if (row.error_code) words.push(row.error_code);
  return { label: `${row.number} ${row.target}`, from_s: row.started_s, parts, text: words.join(", ") };
}

function inTime(fields, attempts) {
  const first = attempts.length ? Math.min(...attempts.map((each) => each.fields.started_s)) : fields.duration_s;
  const rows = attempts.map((each) => attemptRow(each.fields));
  const kind = attempts.length ? "wait" : fields.served_by === "none" ? "lost" : "cache";
  const before = { label: attempts.length ? "in the gate" : fields.served_by, from_s: 0, parts: [[kind, first]], text: attempts.length ? `${seconds(first)} until the first attempt: queue, budget, choice` : seconds(first) };
  return waterfall("Attempts", [before, ...rows], fields.duration_s);
}

const lineColumns = [
  ["tokens of", (row) => row.name.replaceAll("_", " ")],
  ["count", (row) => row.count.toLocaleString("en"), "n"],
  ["each", (row) => picos(row.usd_picos_each), "n"],
  ["makes", (row) => picos(row.usd_picos), "n"],
];

function bill({ fields, price }) {
  const heading = `Attempt ${fields.number}, ${fields.target}`;
  if (!price) return el("p", {}, `${heading}: ${fields.usage_source === null ? "nothing was billed" : `${usd(fields.cost_usd_nanos, 9)}; its lines are not known any more, or it was charged by time`}`);
  const basis = `usage ${fields.usage_source}${price.long_context ? ", at the price of a long context" : ""}, price record ${fields.price_id}`;
  return [table(heading, lineColumns, price.lines), el("p", {}, `Rounded up once to nano-dollars: `, el("strong", {}, usd(price.usd_nanos, 9)), ` (${basis}).`)];
}

function asCurl(fields, base) {
  const body = JSON.stringify({ model: fields.model, stream: Boolean(fields.stream), messages: [{ role: "user", content: "..." }] });
  const run = fields.run ? ` \\\n  -H 'X-Headgate-Run: ${quoted(fields.run)}'` : "";
  return `curl ${base}/chat/completions \\\n  -H 'Authorization: Bearer hg-${quoted(fields.key_id)}-********' \\\n  -H 'X-Headgate-Agent: ${quoted(fields.agent)}'${run} \\\n  -H 'Content-Type: application/json' \\\n  -d '${quoted(body)}'`;
}

/** Safe between single quotes of a shell, and on one line. */
function quoted(text) {
  return String(text).replaceAll(/[\u0000-\u001f\u007f]/g, " ").replaceAll("'", "'\\''");
}

function charges(rows) {
  if (!rows.length) return null;
  const amount = (row, value) => (row.unit === "usd" ? usd(value, 9) : count(value));
  return section("What limits were charged", table("Limits", [["account", (row) => row.account], ["limit of", (row) => row.carrier], ["unit", (row) => row.unit], ["window", (row) => row.window], ["amount", (row) => amount(row, row.amount), "n"], ["without room", (row) => amount(row, row.overrun), "n"]], rows));
}

function one(main, id, page) {
  fill(main, el("h1", {}, "Request"), el("p", {}, "asking the ledger"));
  page.ask(async () => {
    const [detail, about] = await Promise.all([get(`/requests/${encodeURIComponent(id)}`, page.signal), page.about()]);
    const { fields } = detail;
    const curl = asCurl(fields, about.base_url);
    const rest = Object.entries(fields).filter(([, value]) => value !== null && value !== "");
    fill(
      main,
      el("h1", {}, "Request"),
      el("p", { class: "mono" }, fields.request_id),
      facts([
        ["outcome", callState(fields)], ["at", instant(fields.at)], ["agent", el("a", { href: `#/requests${query({ agent: fields.agent })}` }, fields.agent || "unattributed")],
        ["run", fields.run && el("a", { href: `#/runs/${encodeURIComponent(fields.run)}${query({ tenant: fields.team ? `team:${fields.team}` : `key:${fields.key_id}` })}` }, fields.run)], ["model", fields.model], ["target", fields.target],
        ["took", seconds(fields.duration_s)], ["first event", seconds(fields.first_event_s)], ["cost", usd(fields.cost_usd_nanos, 9)],
      ]),
      section("The decision", el("ol", {}, detail.decision.map((words) => el("li", {}, words)))),
      section("Attempts", inTime(fields, detail.attempts)),
      section("The price", detail.attempts.length ? detail.attempts.map(bill) : el("p", {}, "nothing was sent, so nothing was billed")),
      charges(detail.charges),
      detail.tags.length ? section("Tags", facts(detail.tags)) : null,
      section("As curl", el("p", {}, page.copy(curl), " The key is masked, and the messages are not kept: put yours in."), el("pre", { tabindex: "0", "aria-label": "The request as a curl command" }, curl)),
      detail.content ? section("Content that was kept", el("pre", { tabindex: "0", "aria-label": "Content" }, JSON.stringify(detail.content, null, 2))) : null,
      el("details", {}, el("summary", {}, "Every column of the ledger"), table("Columns", [["column", ([name]) => name], ["value", ([, value]) => String(value)]], rest)),
    );
  });
}
