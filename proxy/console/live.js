// Is it fine? The fleet in a row of figures, its last five minutes, the calls as they end, and what has happened.

import { Chart } from "./charts.js";
import { el, fill, mark, section, table } from "./dom.js";
import { live } from "./feed.js";
import { clock, count, percent, rate, seconds, usd } from "./format.js";

export const title = "Live";

export function callState(call) {
  if (call.error_code === null) return call.served_by === "primary" ? mark("good", "ok") : mark("good", call.served_by);
  return call.status === 429 || call.status < 500 ? mark("warn", call.error_code) : mark("bad", call.error_code);
}

export const callColumns = [
  ["time", (call) => clock(call.at_ms)],
  ["agent", (call) => call.agent],
  ["run", (call) => call.run ?? "–"],
  ["model", (call) => call.model],
  ["target", (call) => call.members ?? call.target ?? "–"],
  ["outcome", callState],
  ["first event", (call) => seconds(call.first_event_s), "n"],
  ["took", (call) => seconds(call.duration_s), "n"],
  ["tokens in", (call) => count(call.input_tokens), "n"],
  ["out", (call) => count(call.output_tokens), "n"],
  ["cost", (call) => usd(call.cost_usd_nanos), "n"],
];

export const callAddress = (call) => `#/requests/${encodeURIComponent(call.request_id)}`;

function sum(series, name) {
  return series.reduce((total, second) => total + second[name], 0);
}

function figures() {
  const lately = live.series.slice(-10);
  const minute = live.series.slice(-60);
  const all = live.series;
  const calls = sum(all, "calls");
  const last = live.series.at(-1);
  const { out, trying } = live.gauges;
  const breakers = out.length ? mark("bad", `${out.length} open`) : trying.length ? mark("warn", `${trying.length} half open`) : mark("good", "closed");
  return [
    ["calls a second", rate(lately.length ? sum(lately, "calls") / lately.length : 0), "#/requests", "the last ten seconds"],
    ["success", percent(calls - sum(all, "failed") - sum(all, "refused"), calls - sum(all, "refused"), 1), "#/requests?error=upstream_error", "of five minutes, without refusals"],
    ["first token p95", seconds(last?.first_token_p95_s), "#/upstreams", "streams of the last minute"],
    ["spend an hour", usd(minute.length ? (sum(minute, "cost_usd_nanos") * 3600) / minute.length : 0, 2), "#/agents", "at the pace of the last minute"],
    ["saved", usd(live.gauges.saved_usd_nanos, 4), "#/upstreams", "by known answers, since the start"],
    ["in flight", count(live.gauges.in_flight), "#/runs", `${count(live.gauges.queued)} wait in line`],
    ["breakers", breakers, "#/upstreams", [...out, ...trying].slice(0, 2).join(", ") || "nothing is out"],
  ];
}

const EVENT_MARK = { error: "bad", warning: "warn", info: "idle" };

export function eventLine(event) {
  const words = Object.entries(event.fields).filter(([, value]) => value !== null).map(([name, value]) => `${name} ${value}`);
  return el("li", {}, el("time", {}, clock(event.at_ms)), " ", mark(EVENT_MARK[event.level] ?? "idle", event.name), " ", el("span", {}, words.join(", ")));
}

export function show(main, _, page) {
  const stats = el("dl", { class: "stats" });
  const charts = [
    new Chart("Calls a second", [["ended", (s) => s.calls, "--accent", rate], ["failed", (s) => s.failed, "--bad", rate]]),
    new Chart("First token", [["p95", (s) => s.first_token_p95_s, "--accent", seconds], ["p50", (s) => s.first_token_p50_s, "--second", seconds]]),
    new Chart("Dollars a second", [["spent", (s) => s.cost_usd_nanos / 1e9, "--accent", (value) => `$${value.toFixed(4)}`]]),
    new Chart("Tokens a second", [["in", (s) => s.input_tokens, "--accent", count], ["out", (s) => s.output_tokens, "--second", count]]),
  ];
  const ticker = el("div", {});
  const left = el("p", { class: "quiet" });
  const strip = el("ul", { class: "strip" });
  const pause = el("button", { type: "button", onclick: () => page.pause() }, "Pause");
  fill(
    main,
    el("h1", {}, title),
    stats,
    el("div", { class: "charts" }, charts.map((chart) => chart.root)),
    section("What has happened", strip),
    section("Calls as they end", el("p", {}, pause), left, ticker),
  );
  function draw() {
    pause.textContent = page.paused() ? "Go on" : "Pause";
    if (!live.ready || page.paused()) return;
    fill(stats, figures().map(([name, value, href, note]) => el("div", {}, el("dt", {}, name), el("dd", {}, el("a", { href }, value)), el("dd", { class: "quiet" }, note))));
    for (const chart of charts) chart.show(live.series);
    fill(strip, live.events.length ? live.events.slice(0, 12).map(eventLine) : el("li", { class: "quiet" }, "nothing yet"));
    page.keepRow(() => fill(ticker, table("The last 50 calls, latest first", callColumns, live.calls, { open: callAddress, key: (call) => call.request_id })));
    left.textContent = live.lost ? `${live.lost} messages did not fit before this tab` : "";
  }
  draw();
  return { feed: draw, recolour: () => charts.forEach((chart) => chart.recolour()), close: () => charts.forEach((chart) => chart.close()) };
}
