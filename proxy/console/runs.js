// Why slow or dear? The latest runs; one run as a tree of runs, and its calls in time.

import { get, query, send } from "./api.js";
import { bar, el, facts, fill, mark, section, table } from "./dom.js";
import { live } from "./feed.js";
import { count, instant, seconds, usd } from "./format.js";
import { callAddress, callColumns } from "./live.js";
import { waterfall } from "./waterfall.js";

export const title = "Runs";
const PAGE = 50;
const SHOWN_MAX = 300;
const STATE = { idle: "idle", running: "good", paused: "warn", killed: "bad" };

// A name is its tenant's own: two may have a run of one name.
const address = (run, tenant) => `#/runs/${encodeURIComponent(run)}${query({ tenant })}`;

const columns = [
  ["run", (row) => row.run],
  ["tenant", (row) => row.tenant],
  ["state", (row) => mark(STATE[row.state] ?? "idle", row.state)],
  ["agents", (row) => row.agents.join(", ")],
  ["below", (row) => (row.parent ? el("a", { href: address(row.parent, row.tenant) }, row.parent) : "–")],
  ["calls", (row) => count(row.summary.calls), "n"],
  ["errors", (row) => count(row.summary.errors), "n"],
  ["tokens in", (row) => count(row.summary.input_tokens), "n"],
  ["out", (row) => count(row.summary.output_tokens), "n"],
  ["cost", (row) => usd(row.summary.cost_usd_nanos), "n"],
  ["took", (row) => seconds(row.summary.wall_s), "n"],
  ["last call", (row) => instant(row.summary.last_at)],
];

export function show(main, { id, params }, page) {
  return id ? one(main, id, params.get("tenant"), page) : list(main, params, page);
}

function list(main, params, page) {
  const given = { agent: params.get("agent") ?? "", before: params.get("before") ?? "" };
  const form = el(
    "form",
    { class: "filters", onsubmit: (event) => (event.preventDefault(), page.go("/runs", Object.fromEntries(new FormData(form)))) },
    el("label", {}, "Agent ", el("input", { name: "agent", value: given.agent, list: "known-agents" })),
    el("datalist", { id: "known-agents" }, [...live.agents.keys()].map((name) => el("option", { value: name }))),
    el("button", {}, "Filter"),
  );
  const found = el("div", {});
  fill(main, el("h1", {}, title), form, found);
  page.ask(async () => {
    const runs = await get(`/runs${query({ ...given, limit: PAGE })}`, page.signal);
    const next = runs.before === null ? null : el("a", { href: `#/runs${query({ ...given, before: runs.before })}` }, "Older runs");
    fill(found, table("Runs by their last call, latest first", columns, runs.rows, { open: (row) => address(row.run, row.tenant), key: (row) => `${row.tenant}/${row.run}`, empty: "no run of that kind" }), el("p", {}, next));
  });
}

function every(tree, depth = 0) {
  return [{ tree, depth }, ...tree.children.flatMap((child) => every(child, depth + 1))];
}

function callParts(call) {
  if (call.served_by === "cache" || call.served_by === "join") return [["cache", call.duration_s]];
  if (call.error_code !== null) return [["lost", call.duration_s]];
  if (call.first_event_s === null) return [["first", call.duration_s]];
  return [["first", call.first_event_s], ["stream", Math.max(0, call.duration_s - call.first_event_s)]];
}

function callWords(call, onPath) {
  const words = [call.agent, call.members ? `${call.model}: ${call.members}` : call.model, seconds(call.duration_s), usd(call.cost_usd_nanos)];
  if (call.agent_source === "gate") words.push("made by the gate itself");
  else if (call.served_by !== "primary") words.push(`by ${call.served_by}`);
  if (call.attempts > 1) words.push(`${call.attempts} attempts`);
  if (call.error_code) words.push(call.error_code);
  if (onPath) words.push("on the critical path");
  return words.join(", ");
}

function inTime(tree) {
  const runs = every(tree);
  const calls = runs.flatMap(({ tree: { run, calls: own }, depth }) => own.map((call) => ({ call, depth, run: run.run })));
  if (!calls.length) return el("p", { class: "quiet" }, "no call of it has ended yet");
  calls.sort((a, b) => a.call.at_ms - b.call.at_ms);
  const shown = calls.slice(-SHOWN_MAX);
  const begin = shown[0].call.at_ms;
  const end = Math.max(...shown.map(({ call }) => call.at_ms / 1000 + call.duration_s));
  const path = new Set(tree.critical_path.request_ids);
  const rows = shown.map(({ call, depth, run }) => ({
    label: `${run} ${instant(call.at)}`, depth, href: callAddress(call), from_s: (call.at_ms - begin) / 1000, parts: callParts(call), text: callWords(call, path.has(call.request_id)),
  }));
  const left = calls.length > shown.length || tree.truncated ? el("p", { class: "quiet" }, `The latest ${shown.length} calls are shown; there are more.`) : null;
  return [left, waterfall("Calls of the run and of those below it", rows, end - begin / 1000)];
}

function branch(tree) {
  const { run } = tree;
  return el(
    "li",
    {},
    el("a", { href: address(run.run, run.tenant) }, run.run), " ", mark(STATE[run.state] ?? "idle", run.state),
    ` ${run.agents.join(", ")}: ${count(run.summary.calls)} calls, ${usd(run.summary.cost_usd_nanos)}`,
    tree.children.length ? [` (with those below ${usd(tree.total_usd_nanos)})`, el("ul", {}, tree.children.map(branch))] : null,
  );
}

function limits(tree) {
  if (!tree.budget.length) return null;
  const amount = (row, value) => (row.unit === "usd" ? usd(value) : count(value));
  return section("Budgets of the run", table("Limits", [
    ["unit", (row) => row.unit], ["window", (row) => row.window], ["set by", (row) => row.carrier],
    ["limit", (row) => amount(row, row.limit), "n"], ["spent", (row) => amount(row, row.spent), "n"], ["held", (row) => amount(row, row.held), "n"],
    ["used", (row) => bar((row.spent + row.held) / (row.limit || 1), `${Math.round((100 * (row.spent + row.held)) / (row.limit || 1))} %`)],
  ], tree.budget));
}

function orders(tree, page) {
  const { run, tenant } = tree.run;
  const order = (verb, words) => el("button", { type: "button", onclick: () => page.sure(words, async () => {
    const done = await send("POST", `/runs/${encodeURIComponent(run)}/${verb}${query({ tenant })}`, {});
    page.say(`${run} is ${done.state}; ${done.interrupted} calls were ended`);
    page.again();
  }) }, verb[0].toUpperCase() + verb.slice(1));
  return el("p", { class: "orders" }, tree.run.state === "paused" ? order("resume", "Serve this run again?") : order("pause", "Refuse new calls of this run?"), " ", order("kill", "End this run and its calls in flight? It cannot be undone."));
}

function one(main, id, tenant, page) {
  fill(main, el("h1", {}, `Run ${id}`), el("p", {}, "asking the ledger"));
  page.ask(async () => {
    const tree = await get(`/runs/${encodeURIComponent(id)}${query({ tenant })}`, page.signal);
    const { run, critical_path: path } = tree;
    const [kind, whose] = run.tenant.split(":");
    fill(
      main,
      el("h1", {}, `Run ${id}`),
      orders(tree, page),
      facts([
        ["state", mark(STATE[run.state] ?? "idle", run.state)], ["stopped by", run.stopped_by], ["below", run.parent && el("a", { href: address(run.parent, run.tenant) }, run.parent)],
        ["tenant", run.tenant], ["agents", run.agents.join(", ")], ["calls", count(run.summary.calls)], ["errors", count(run.summary.errors)], ["in flight", count(run.in_flight)],
        ["cost with all below", usd(tree.total_usd_nanos)], ["from first to last", seconds(tree.wall_s)],
        ["critical path", `${seconds(path.seconds)} over ${path.calls} calls${path.share === null ? "" : `, ${Math.round(path.share * 100)} % of the time`}`],
        ["longest step", tree.longest_step && el("a", { href: callAddress(tree.longest_step) }, seconds(tree.longest_step.duration_s))],
      ]),
      tree.children.length ? section("Runs below it", el("ul", { class: "tree" }, branch(tree))) : null,
      section("In time", inTime(tree)),
      limits(tree),
      section("Its own calls", table("Calls, latest first", callColumns, tree.calls.slice(-100).reverse(), { open: callAddress, key: (call) => call.request_id }), el("p", {}, el("a", { href: `#/requests${query({ run: id, [kind]: whose })}` }, "All of them"))),
    );
  });
}
