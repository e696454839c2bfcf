// How do I connect? Snippets and a dry run, budgets and where they are heading, keys, the configuration with its origins.

import { get, send } from "./api.js";
import { bar, el, facts, fill, mark, section, table } from "./dom.js";
import { instant, usd } from "./format.js";

export const title = "Setup";
const EVERY_MS = 5000;

function snippets(about) {
  const base = about.base_url;
  const model = about.models.find((each) => !each.name.includes("*"))?.name ?? "MODEL";
  const key = about.open ? "any" : "hg-...";
  const python = `from openai import OpenAI\n\nclient = OpenAI(base_url=${JSON.stringify(base)}, api_key=${JSON.stringify(key)})\nreply = client.chat.completions.create(\n    model=${JSON.stringify(model)}, messages=[{"role": "user", "content": "hello"}]\n)\nprint(reply.choices[0].message.content)`;
  const body = JSON.stringify({ model, messages: [{ role: "user", content: "hello" }] });
  return [
    ["Environment, for most frameworks", `export OPENAI_BASE_URL=${base}\nexport OPENAI_API_KEY=${key}`],
    ["Python, OpenAI SDK", python],
    ["curl", `curl ${base}/chat/completions -H 'Authorization: Bearer ${key}' \\\n  -H 'Content-Type: application/json' -d '${body.replaceAll("'", "'\\''")}'`],
    ["Saying which agent and run", `${base.replace(/\/v1$/, "")}/agents/planner/runs/trip-1/v1`],
  ];
}

function connect(about, page) {
  return section(
    "Connect",
    facts([["version", about.version], ["base URL", about.base_url], ["keys", about.open ? "any is accepted: none was made yet, and only this machine reaches the gate" : "one of those below is needed"], ["processes", about.workers], ["prices of", `${about.prices_date} (${about.prices_source})`]]),
    about.unpriced.length ? el("ul", { class: "strip" }, about.unpriced.map((words) => el("li", {}, mark("warn", "no price"), " ", words))) : null,
    snippets(about).map(([name, text]) => [el("h3", {}, name, " ", page.copy(text)), el("pre", { tabindex: "0", "aria-label": name }, text)]),
  );
}

function test(about, page) {
  const said = el("div", { role: "status" });
  const form = el(
    "form",
    { class: "filters", onsubmit: (event) => (event.preventDefault(), page.ask(ask, said)) },
    el("label", {}, "Model ", el("select", { name: "model" }, about.models.filter((each) => !each.name.includes("*")).map((each) => el("option", {}, each.name)))),
    el("label", {}, "as agent ", el("input", { name: "agent", placeholder: "unattributed" })),
    el("button", {}, "Test"),
  );
  async function ask() {
    const given = new FormData(form);
    const order = { body: { model: given.get("model"), messages: [{ role: "user", content: "hello" }], max_tokens: 16 } };
    if (given.get("agent")) order.agent = given.get("agent");
    const quote = await send("POST", "/quote", order);
    const state = quote.admitted ? mark("good", "it would be served") : mark("bad", "it would be refused");
    fill(said, el("p", {}, state, quote.plan ? `: ${quote.plan}` : ""), quote.refused ? el("p", {}, `${quote.refused.status} ${quote.refused.code}: ${quote.refused.message}`) : null,
      table("Where it could go", [["target", (row) => row.target], ["held", (row) => usd(row.hold_usd_nanos, 6), "n"], ["answer", (row) => (row.refused ? mark("bad", `${row.refused.code}: ${row.refused.message}`) : mark("good", "admitted"))]], quote.targets));
  }
  return section("Test", el("p", { class: "quiet" }, "A dry run through permission, budgets, plan and price: nothing is sent and nothing is spent."), form, said);
}

const money = (row, value) => (value === null ? "–" : row.unit === "usd" ? `$${value}` : value);
const budgetColumns = [
  ["account", (row) => row.account],
  ["limit", (row) => `${money(row, row.limit)}${row.unit === "usd" ? "" : ` ${row.unit}`} a ${row.window}`],
  ["used", (row) => bar(row.used, `${Math.round(row.used * 100)} %`, row.used >= 1 ? "bad" : row.used >= 0.8 ? "warn" : "")],
  ["spent", (row) => money(row, row.spent), "n"],
  ["held", (row) => money(row, row.held), "n"],
  ["left", (row) => money(row, row.left), "n"],
  ["an hour", (row) => money(row, row.rate_per_hour), "n"],
  ["forecast", (row) => (row.exhausted_at ? mark("warn", `empty at ${instant(row.exhausted_at)}`) : row.expected_at_end === null ? "–" : `${money(row, row.expected_at_end)} at its end`)],
  ["resets", (row) => instant(row.resets_at)],
  ["step", (row) => row.rung ?? "–"],
];

function keys(page) {
  const board = el("div", {});
  const fresh = el("div", { role: "status" });
  const form = el(
    "form",
    { class: "filters", onsubmit: (event) => (event.preventDefault(), page.ask(create, fresh)) },
    el("label", {}, "Agent ", el("input", { name: "agent", placeholder: "named by the caller" })),
    el("label", {}, "Dollars a day ", el("input", { name: "usd", inputmode: "decimal", pattern: "[0-9]+([.][0-9]+)?", placeholder: "no limit" })),
    el("label", {}, "Days it lasts ", el("input", { name: "days", type: "number", min: "1", max: "36500", placeholder: "for ever" })),
    el("button", {}, "Create a key"),
  );
  async function create() {
    const given = Object.fromEntries(new FormData(form));
    const order = {};
    if (given.agent) order.agent = given.agent;
    if (given.usd) order.budget = [{ usd: given.usd, per: "day" }];
    if (given.days) order.lasts_s = Number(given.days) * 86400;
    const made = await send("POST", "/keys", order);
    const hide = el("button", { type: "button", onclick: () => fresh.replaceChildren() }, "I have it");
    fill(fresh, el("div", { class: "secret" }, el("p", {}, el("strong", {}, "This is shown once: "), el("code", {}, made.key)), el("p", {}, page.copy(made.key), " ", hide)));
    form.reset();
    await look();
  }
  async function look() {
    const { rows } = await get("/keys", page.signal);
    const state = (row) => (row.revoked_wall ? mark("idle", "revoked") : row.record.expires_wall && row.record.expires_wall * 1000 < Date.now() ? mark("idle", "expired") : mark("good", "valid"));
    const revoke = (row) => (row.revoked_wall ? "–" : el("button", { type: "button", onclick: () => page.sure(`Revoke key ${row.record.id}?`, async () => (await send("DELETE", `/keys/${encodeURIComponent(row.record.id)}`), await look())) }, `Revoke ${row.record.id}`));
    fill(board, table("Keys that were made", [["id", (row) => row.record.id], ["agent", (row) => row.record.agent ?? "any"], ["team", (row) => row.record.team ?? "–"], ["models", (row) => row.record.models?.join(", ") ?? "all"], ["budget", (row) => row.budget.join(", ") || "–"], ["made", (row) => instant(row.created_wall * 1000)], ["expires", (row) => (row.record.expires_wall ? instant(row.record.expires_wall * 1000) : "never")], ["state", state], ["", revoke]], rows, { empty: "none was made" }));
  }
  page.ask(look, board);
  return section("Keys", form, fresh, board);
}

function configuration(page) {
  const board = el("div", {});
  const filter = el("input", { type: "search", oninput: () => draw() });
  let values = [];
  const draw = () => {
    const wanted = filter.value.toLowerCase();
    const rows = values.filter((row) => !wanted || row.path.toLowerCase().includes(wanted) || row.origin.toLowerCase().includes(wanted));
    const own = wanted ? rows : rows.filter((row) => row.origin !== "default");
    fill(board, table(wanted ? "Settings that fit" : "Settings that are not at their default", [["setting", (row) => row.path], ["value", (row) => JSON.stringify(row.value)], ["from", (row) => row.origin]], own.slice(0, 500)));
  };
  const reload = el("button", { type: "button", onclick: () => page.sure("Read the configuration again?", async () => (await send("POST", "/reload", {}), page.say("the configuration was read again"), page.again())) }, "Reload");
  const version = el("span", { class: "quiet" });
  page.ask(async () => {
    const config = await get("/config", page.signal);
    values = config.values;
    version.textContent = `version ${config.version}; secrets are masked`;
    draw();
  }, board);
  return section("Configuration", el("p", {}, reload, " ", version), el("form", { class: "filters", onsubmit: (event) => event.preventDefault() }, el("label", {}, "Search all settings ", filter)), board);
}

export function show(main, _, page) {
  fill(main, el("h1", {}, title));
  page.ask(async () => {
    const about = await page.about();
    const budgets = el("div", {});
    fill(main, el("h1", {}, title), connect(about, page), test(about, page), section("Budgets", budgets), keys(page), configuration(page));
    page.every(EVERY_MS, async () => {
      const { rows, truncated } = await get("/budgets?limit=100", page.signal);
      fill(budgets, table("Limits, the most used first", budgetColumns, rows, { empty: "no budget is set" }), truncated ? el("p", { class: "quiet" }, "There are more.") : null);
    });
  });
}
