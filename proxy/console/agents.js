// Who spends, on what? Every agent since the start of the gate, live, beside its budgets; below, the ledger's own sums.

import { get, query } from "./api.js";
import { bar, el, fill, section, table } from "./dom.js";
import { live } from "./feed.js";
import { clock, count, instant, percent, seconds, usd } from "./format.js";

export const title = "Agents";
const BUDGETS_EVERY_MS = 5000;

function budgetOf(budgets, agent) {
  const rows = budgets.filter((row) => row.account === `agent:${agent}`);
  if (!rows.length) return "none";
  const row = rows.reduce((most, each) => (each.used > most.used ? each : most));
  const level = row.used >= 1 ? "bad" : row.used >= 0.8 ? "warn" : "";
  const unit = row.unit === "usd" ? "$" : "";
  return bar(row.used, `${Math.round(row.used * 100)} % of ${unit}${row.limit}${unit ? "" : ` ${row.unit}`} a ${row.window}`, level);
}

function columns(budgets) {
  return [
    ["agent", (row) => row.name || "unattributed"],
    ["calls", (row) => count(row.calls), "n"],
    ["failed", (row) => count(row.failed), "n"],
    ["refused", (row) => count(row.refused), "n"],
    ["tokens in", (row) => count(row.input_tokens), "n"],
    ["cached", (row) => percent(row.cached_tokens, row.input_tokens), "n"],
    ["out", (row) => count(row.output_tokens), "n"],
    ["first token p95", (row) => seconds(row.first_token_p95_s), "n"],
    ["spent", (row) => usd(row.cost_usd_nanos), "n"],
    ["budget", (row) => budgetOf(budgets, row.name)],
    ["last call", (row) => clock(row.last_ms)],
  ];
}

const usageColumns = [
  ["name", (row) => row.key ?? "none"],
  ["calls", (row) => count(row.calls), "n"],
  ["fresh input", (row) => count(row.tokens.input_uncached), "n"],
  ["cached input", (row) => count(row.tokens.input_cached), "n"],
  ["written to caches", (row) => count(row.tokens.input_cache_write_5m + row.tokens.input_cache_write_1h), "n"],
  ["output", (row) => count(row.tokens.output), "n"],
  ["reasoning", (row) => count(row.tokens.reasoning), "n"],
  ["cost", (row) => usd(row.cost_usd_nanos), "n"],
  ["estimated", (row) => (row.estimated_share === null ? "–" : `${Math.round(row.estimated_share * 100)} %`), "n"],
];

const options = (names, chosen) => names.map(([value, text]) => el("option", { value, selected: value === chosen }, text));

export function show(main, { params }, page) {
  const by = params.get("by") ?? "agent";
  const since = params.get("since") ?? "1h";
  const board = el("div", {});
  const books = el("div", {});
  let budgets = [];
  const form = el(
    "form",
    { class: "filters", onsubmit: (event) => event.preventDefault(), onchange: () => page.go("/agents", Object.fromEntries(new FormData(form))) },
    el("label", {}, "Sums by ", el("select", { name: "by" }, options([["agent", "agent"], ["model", "model"], ["provider", "provider"], ["target", "target"], ["team", "team"], ["key", "key"]], by))),
    el("label", {}, "Since ", el("select", { name: "since" }, options([["15m", "15 minutes"], ["1h", "1 hour"], ["6h", "6 hours"], ["1d", "1 day"], ["7d", "7 days"]], since))),
  );
  fill(main, el("h1", {}, title), section("Since the start of the gate", board), section("From the ledger", form, books));
  function draw() {
    if (!live.ready || page.paused()) return;
    const rows = [...live.agents.values()].sort((a, b) => b.cost_usd_nanos - a.cost_usd_nanos || a.name.localeCompare(b.name));
    const open = (row) => `#/requests${query({ agent: row.name })}`;
    page.keepRow(() => fill(board, table("Agents, dearest first", columns(budgets), rows, { open, key: (row) => row.name })));
  }
  page.every(BUDGETS_EVERY_MS, async () => {
    budgets = (await get("/budgets?kind=agent&limit=500", page.signal)).rows;
    draw();
  });
  page.ask(async () => {
    const usage = await get(`/usage${query({ by, since })}`, page.signal);
    const filters = { agent: "agent", model: "model", target: "target", team: "team", key: "key" };
    const open = (row) => (filters[by] && row.key ? `#/requests${query({ [filters[by]]: row.key })}` : null);
    const note = usage.capped
      ? `Only the latest ${count(usage.looked_at)} calls, since ${instant(usage.from_at)}: there are more. The whole is in \`headgate spend\`.`
      : `${count(usage.looked_at)} calls.`;
    fill(books, el("p", { class: "quiet" }, note), table(`Tokens and cost by ${by}`, usageColumns, usage.rows, { open }));
  });
  draw();
  return { feed: draw };
}
