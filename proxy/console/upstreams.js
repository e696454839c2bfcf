// What is broken? Targets with their breakers, limits and speed; known answers; gates; models that several answer.

import { get } from "./api.js";
import { bar, el, fill, mark, section, table } from "./dom.js";
import { live } from "./feed.js";
import { count, percent, seconds, usd } from "./format.js";
import { eventLine } from "./live.js";

export const title = "Upstreams";
const EVERY_MS = 3000;
const STATE = { closed: ["good", "closed"], open: ["bad", "open"], half_open: ["warn", "half open"] };

const perMillion = (price, name) => (price ? `$${(price[name] / 1e6).toFixed(2)}` : "none");

function targetColumns() {
  const of = (row) => live.targets.get(row.target);
  return [
    ["target", (row) => row.target],
    ["breaker", (row) => (row.health ? mark(...STATE[row.health.state]) : "of each model")],
    ["why", (row) => row.health?.why || "–"],
    ["next trial", (row) => (row.health?.retry_s ? seconds(row.health.retry_s) : "–"), "n"],
    ["last failure", (row) => row.health?.last_failure ?? "–"],
    ["calls a minute", (row) => count(row.health?.calls), "n"],
    ["bad", (row) => (row.health?.calls ? percent(row.health.bad_share, 1) : "–"), "n"],
    ["in flight", (row) => (row.health ? `${row.health.in_flight}${row.health.concurrency === null ? "" : ` of ${Math.floor(row.health.concurrency)}`}` : "–"), "n"],
    ["first token p95", (row) => seconds(of(row)?.first_token_p95_s), "n"],
    ["learned", (row) => seconds(row.health?.first_token_s), "n"],
    ["hedges", (row) => count(of(row)?.hedges ?? 0), "n"],
    ["spent", (row) => usd(of(row)?.cost_usd_nanos ?? 0), "n"],
    ["in / out per million", (row) => `${perMillion(row.price, "input_uncached")} / ${perMillion(row.price, "output")}`, "n"],
  ];
}

const cacheColumns = [
  ["cache", ([name]) => name],
  ["looked up", ([, each]) => count(Object.values(each.looked_up).reduce((sum, more) => sum + more, 0)), "n"],
  ["hits", ([, each]) => count(each.looked_up.hit ?? 0), "n"],
  ["of those that could", ([, each]) => percent(each.looked_up.hit ?? 0, (each.looked_up.hit ?? 0) + (each.looked_up.miss ?? 0) + (each.looked_up.stale ?? 0)), "n"],
  ["tokens saved", ([, each]) => count(each.saved_tokens), "n"],
  ["saved", ([, each]) => usd(each.saved_usd_nanos), "n"],
  ["wrong", ([name, each]) => (name !== "semantic" ? "never: a hit is the same request" : each.false_hit_ratio === null ? "nothing compared yet" : `${percent(each.false_hit_ratio, 1, 1)} of hits, by ${count(Object.values(each.compared).reduce((sum, more) => sum + more, 0))} comparisons`)],
];

const gateColumns = [
  ["pool", (row) => row.pool],
  ["runs in", (row) => count(row.active), "n"],
  ["in use", (row) => bar(row.in_use / (row.limit || 1), `${count(Math.round(row.in_use))} of ${count(Math.round(row.limit))} ${row.unit}`)],
  ["waiting", (row) => count(row.waiting), "n"],
  ["parked", (row) => count(row.parked), "n"],
  ["cached input", (row) => (row.cached_share === null ? "–" : percent(row.cached_share, 1)), "n"],
];

const rungColumns = [
  ["cascade", (row) => row.model],
  ["rung", (row) => row.rung, "n"],
  ["agent", (row) => row.agent || "all"],
  ["labels", (row) => count(row.labels), "n"],
  ["state", (row) => (row.withdrawn ? mark("warn", "withdrawn") : row.accepts_from === null ? mark("idle", "may not answer yet") : mark("good", "answers"))],
  ["accepts from", (row) => (row.accepts_from === null ? "–" : row.accepts_from.toFixed(3)), "n"],
  ["accepted", (row) => percent(row.accepted_share, 1), "n"],
  ["loss at most", (row) => `${percent(row.loss_at_most, 1, 1)} of ${percent(row.loss_max, 1, 1)}`, "n"],
  ["in words", (row) => row.said],
];

const experimentColumns = [
  ["experiment", ({ design }) => design.name],
  ["control", ({ design }) => design.control],
  ["candidate", ({ design }) => `${design.candidate}, ${design.mode === "split" ? "answers" : "in the shadow of"} ${percent(design.share, 1)} of the ${design.unit}s`],
  ["units", ({ rows }) => `${count(rows[0].control.units)} and ${count(rows[0].candidate.units)}`],
  ["in words", (row) => row.conclusion],
];

export function show(main, _, page) {
  const parts = Object.fromEntries(["targets", "events", "caches", "gates", "models", "rungs", "experiments"].map((name) => [name, el("div", {})]));
  fill(
    main,
    el("h1", {}, title),
    section("Targets", parts.targets),
    section("What has turned", parts.events),
    section("Known answers", parts.caches),
    parts.gates,
    parts.models,
    parts.rungs,
    parts.experiments,
  );
  page.every(EVERY_MS, async () => {
    const [targets, caches, gates, rungs] = await Promise.all(["/targets", "/caches", "/gates", "/cascades"].map((path) => get(path, page.signal)));
    page.keepRow(() => fill(parts.targets, table("Targets of the configuration", targetColumns(), targets, { key: (row) => row.target })));
    const kept = `${count(caches.entries)} answers in memory, ${count(caches.bytes)} bytes; ${Object.entries(caches.on_disk).map(([name, each]) => `${name}: ${count(each.entries)} on the disk`).join(", ") || "none on the disk"}`;
    fill(parts.caches, el("p", { class: "quiet" }, kept), table("Caches since the start", cacheColumns, Object.entries(caches.savings)));
    fill(parts.rungs, rungs.rows.length ? table("Rungs of cascades", rungColumns, rungs.rows) : null);
    fill(parts.gates, gates.length ? section("Run admission", table("Gates", gateColumns, gates)) : null);
  });
  page.ask(async () => {
    const experiments = (await get("/experiments", page.signal)).rows; // once: it reads thousands of calls
    fill(parts.experiments, experiments.length ? section("Experiments", table("Two models compared on live calls", experimentColumns, experiments)) : null);
  });
  page.ask(async () => {
    const several = (await page.about()).models.filter((model) => model.mode !== "single");
    const columns = [["model", (row) => row.name], ["mode", (row) => row.mode], ["models", (row) => row.targets.join(" > ")], ["calls", (row) => count(live.routes.get(row.name)?.calls ?? 0), "n"], ["spent", (row) => usd(live.routes.get(row.name)?.cost_usd_nanos ?? 0), "n"]];
    fill(parts.models, several.length ? section("Answered by several", table("Cascades and votes", columns, several)) : null);
  });
  function draw() {
    const turned = live.events.filter((event) => event.name === "breaker").slice(0, 10);
    fill(parts.events, turned.length ? el("ul", { class: "strip" }, turned.map(eventLine)) : el("p", { class: "quiet" }, "no breaker has turned"));
  }
  draw();
  return { feed: (kind) => kind === "event" && draw() };
}
