// The live feed, read by `fetch`: `EventSource` cannot carry a token. Rows are absolute, so a message that was lost is
// made good by the next one. Off while the tab is hidden; a cut stream goes on from its last message.

import { headers } from "./api.js";

const CALLS_MAX = 50;
const EVENTS_MAX = 50;
const SERIES_MAX = 300;
const PAUSES_MS = [500, 1000, 2000, 5000, 10000];

export const live = {
  ready: false, atMs: 0, sinceMs: 0, gauges: null, totals: null, calls: [], events: [], series: [],
  agents: new Map(), routes: new Map(), targets: new Map(), runs: new Map(), lost: 0,
};
const lists = ["agents", "routes", "targets", "runs"];
const listeners = new Set();
let lastId = "";
let stop = null;
let failures = 0;

export function listen(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function start() {
  document.addEventListener("visibilitychange", () => (document.hidden ? halt() : run()));
  if (!document.hidden) run();
}

export function restart() {
  halt();
  failures = 0;
  run();
}

function halt() {
  stop?.abort();
  stop = null;
}

async function run() {
  if (stop) return;
  const mine = (stop = new AbortController());
  while (!mine.signal.aborted) {
    try {
      await read(mine.signal);
    } catch (error) {
      if (mine.signal.aborted) return;
      if (error.status === 401) {
        stop = null;
        tell("link", "token wanted");
        window.dispatchEvent(new Event("token-wanted"));
        return;
      }
      tell("link", error.status === 503 ? "feed is full, trying again" : "cut off, trying again");
    }
    const pause = PAUSES_MS[Math.min(failures++, PAUSES_MS.length - 1)];
    await new Promise((done) => setTimeout(done, pause));
  }
}

async function read(signal) {
  const reply = await fetch("/events", { headers: headers(lastId ? { "Last-Event-ID": lastId } : {}), signal });
  if (!reply.ok) throw Object.assign(new Error("refused"), { status: reply.status });
  failures = 0;
  tell("link", "live");
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("ended");
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) message(block);
  }
}

function message(block) {
  let kind = "";
  let data = "";
  for (const line of block.split("\n")) {
    if (line.startsWith("id: ")) lastId = line.slice(4);
    else if (line.startsWith("event: ")) kind = line.slice(7);
    else if (line.startsWith("data: ")) data = line.slice(6);
  }
  if (kind) take(kind, JSON.parse(data));
}

function take(kind, said) {
  if (kind === "snapshot") {
    Object.assign(live, { ready: true, atMs: said.at_ms, sinceMs: said.since_ms, gauges: said.gauges, totals: said.totals });
    Object.assign(live, { calls: said.calls, events: said.events, series: said.series });
    for (const name of lists) live[name] = new Map(said[name].map((row) => [row.name, row]));
  } else if (kind === "delta") {
    Object.assign(live, { atMs: said.at_ms, gauges: said.gauges, totals: said.totals });
    for (const name of lists) for (const row of said[name]) live[name].set(row.name, row);
    live.calls = [...said.calls, ...live.calls].slice(0, CALLS_MAX);
    live.series = [...live.series, said.second].slice(-SERIES_MAX);
  } else if (kind === "event") {
    live.events = [said, ...live.events].slice(0, EVENTS_MAX);
  } else if (kind === "dropped") {
    live.lost += said.messages;
  }
  tell(kind, said);
}

function tell(kind, said) {
  for (const listener of listeners) listener(kind, said);
}
