// The frame: which view the address names, the keyboard, the token, the theme, and what is said aloud.

import * as agents from "./agents.js";
import { get, useToken } from "./api.js";
import { el, fill } from "./dom.js";
import { listen, live, restart, start } from "./feed.js";
import { count, percent, seconds } from "./format.js";
import * as livePage from "./live.js";
import * as requests from "./requests.js";
import * as runs from "./runs.js";
import * as setup from "./setup.js";
import * as upstreams from "./upstreams.js";

const VIEWS = { live: livePage, agents, runs, requests, upstreams, setup };
const LETTERS = { l: "live", a: "agents", r: "runs", q: "requests", u: "upstreams", s: "setup" };
const SPOKEN_EVERY_MS = 30_000;
const ALARMS = new Set(["breaker", "budget", "budget overrun", "ledger"]);

const main = document.getElementById("main");
const byId = (id) => document.getElementById(id);
let present = null;
let paused = false;
let about = null;

class Page {
  #stop = new AbortController();
  #timers = [];

  get signal() {
    return this.#stop.signal;
  }

  paused() {
    return paused;
  }

  pause() {
    paused = !paused;
    present?.view?.feed?.("pause");
  }

  about() {
    about ??= get("/about").catch((error) => {
      about = null;
      throw error;
    });
    return about;
  }

  go(path, params = {}) {
    const given = new URLSearchParams(Object.entries(params).filter(([, value]) => value !== ""));
    location.hash = `#${path}${[...given].length ? `?${given}` : ""}`;
  }

  again() {
    show();
  }

  say(words) {
    byId("status").textContent = words;
  }

  /** Asks once; what goes wrong is told where the answer would stand. */
  async ask(question, place = main) {
    try {
      await question();
    } catch (error) {
      if (!this.signal.aborted) fill(place, place === main ? el("h1", {}, "No answer") : null, el("p", { class: "wrong" }, error.message));
    }
  }

  /** Now and again and again, while the view and the tab are looked at. */
  every(ms, question) {
    const turn = async () => {
      if (!document.hidden && !paused) {
        try {
          await question();
        } catch (error) {
          if (!this.signal.aborted && error.status !== 401) this.say(error.message);
        }
      }
      if (!this.signal.aborted) this.#timers.push(setTimeout(turn, ms));
    };
    turn();
  }

  sure(words, act) {
    const dialog = el("dialog", { "aria-label": words }, el("p", {}, words), el("form", { method: "dialog" }, el("button", { value: "yes" }, "Yes"), " ", el("button", { value: "no", autofocus: true }, "No")));
    dialog.addEventListener("close", async () => {
      dialog.remove();
      if (dialog.returnValue === "yes") await act().catch((error) => this.say(error.message));
    });
    document.body.append(dialog);
    dialog.showModal();
  }

  copy(text) {
    const button = el("button", { type: "button", onclick: async () => {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } }, "Copy");
    return button;
  }

  /** Redraws a table without taking the focus from its row, nor the place from who has scrolled. */
  keepRow(draw) {
    const row = document.activeElement?.closest?.("tr[data-key]")?.dataset.key;
    const scrolled = [...main.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
    draw();
    main.querySelectorAll(".scroll").forEach((each, place) => (each.scrollLeft = scrolled[place] ?? 0));
    if (row === undefined) return;
    const again = [...main.querySelectorAll("tr[data-key]")].find((each) => each.dataset.key === row);
    again?.querySelector("a.open")?.focus({ preventScroll: true });
  }

  close() {
    this.#stop.abort();
    this.#timers.forEach(clearTimeout);
  }
}

function show() {
  const [path, given] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  const view = VIEWS[name] ?? livePage;
  present?.page.close();
  present?.view?.close?.();
  const page = new Page();
  const id = rest.length ? decodeURIComponent(rest.join("/")) : "";
  present = { page, view: null };
  document.title = `${id || view.title} - Headgate`;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#/${VIEWS[name] ? name : "live"}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  present.view = view.show(main, { id, params: new URLSearchParams(given ?? "") }, page) ?? null;
}

function hear(kind, said) {
  if (kind === "link") byId("link").textContent = said;
  else present?.view?.feed?.(kind);
  if (kind === "event" && ALARMS.has(said.name) && said.level !== "info") byId("alert").textContent = `${said.name}: ${said.fields.why ?? said.fields.account ?? ""}`;
}

function speak() {
  if (!live.ready || document.hidden) return;
  const last = live.series.slice(-30);
  const calls = last.reduce((sum, each) => sum + each.calls, 0);
  const failed = last.reduce((sum, each) => sum + each.failed, 0);
  byId("status").textContent = `In 30 seconds ${count(calls)} calls, ${percent(failed, calls)} failed, first token p95 ${seconds(last.at(-1)?.first_token_p95_s)}`;
}

// --- the keyboard ---

let going = false;

function typing(event) {
  return event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, select, textarea, dialog");
}

function move(step) {
  const links = [...main.querySelectorAll("a.open")];
  if (!links.length) return;
  const at = links.indexOf(document.activeElement);
  links[at < 0 ? 0 : Math.max(0, Math.min(links.length - 1, at + step))].focus();
}

function press(event) {
  if (event.key === "Escape" && event.target.closest?.("input, select")) return event.target.blur();
  if (typing(event)) return undefined;
  const wanted = going ? LETTERS[event.key] : null;
  going = event.key === "g";
  if (wanted) location.hash = `#/${wanted}`;
  else if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "p") present.page.pause();
  else if (event.key === "?") byId("help").showModal();
  else if (event.key === "Escape") history.back();
  else if (event.key === "/") {
    event.preventDefault();
    main.querySelector("form.filters input, form.filters select")?.focus();
  }
  return undefined;
}

// --- the token and the theme ---

function wantToken() {
  const dialog = byId("token-dialog");
  if (!dialog.open) dialog.showModal();
}

byId("token-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = byId("token");
  useToken(field.value);
  field.value = "";
  try {
    await get("/about");
  } catch (error) {
    byId("token-wrong").textContent = error.message;
    return;
  }
  byId("token-wrong").textContent = "";
  byId("token-dialog").close();
  about = null;
  restart();
  show();
});

byId("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  present?.view?.recolour?.();
});
byId("keys").addEventListener("click", () => byId("help").showModal());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => present?.view?.recolour?.());
window.addEventListener("token-wanted", wantToken);
window.addEventListener("hashchange", () => {
  show();
  main.focus({ preventScroll: true });
  window.scrollTo(0, 0);
});
document.addEventListener("keydown", press);
listen(hear);
setInterval(speak, SPOKEN_EVERY_MS);
show();
start();
