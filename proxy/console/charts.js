// Charts over the last five minutes: a picture by uPlot, the same in words, and as a table for whoever wants numbers.

import { el, fill, table } from "./dom.js";
import { clock } from "./format.js";

const { uPlot } = window;
const HEIGHT = 130;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export class Chart {
  /** `lines`: [label, how a second becomes a number or null, the name of a colour, how it is written]. */
  constructor(title, lines) {
    this.title = title;
    this.lines = lines;
    this.seconds = [];
    this.words = el("p", { class: "words" });
    this.picture = el("div", { class: "picture", "aria-hidden": "true" });
    this.numbers = el("details", {}, el("summary", {}, `${title} as a table`));
    this.numbers.addEventListener("toggle", () => this.numbers.open && this.#tabulate());
    this.root = el("figure", { class: "chart" }, el("figcaption", {}, title), this.picture, this.words, this.numbers);
    this.plot = null;
    this.watch = new ResizeObserver(() => this.plot?.setSize({ width: this.picture.clientWidth, height: HEIGHT }));
    this.watch.observe(this.picture);
  }

  show(seconds) {
    this.seconds = seconds;
    const data = [seconds.map((each) => each.at_ms / 1000), ...this.lines.map(([, value]) => seconds.map(value))];
    if (this.plot) this.plot.setData(data);
    else if (this.picture.clientWidth) this.plot = new uPlot(this.#options(), data, this.picture);
    const last = seconds.at(-1);
    if (last) fill(this.words, this.lines.map(([label, value, , write]) => `${label} ${write(value(last))}`).join(", "));
  }

  recolour() {
    this.plot?.destroy();
    this.plot = null;
    this.show(this.seconds);
  }

  close() {
    this.watch.disconnect();
    this.plot?.destroy();
  }

  #options() {
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    const hour12 = "{HH}:{mm}:{ss}";
    return {
      width: this.picture.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      cursor: { show: false },
      scales: { y: { range: (_, low, high) => [0, Math.max(high ?? 0, 1e-6) * 1.1] } },
      axes: [
        { ...axis, size: 28, space: 90, values: (_, splits) => splits.map((at) => uPlot.fmtDate(hour12)(new Date(at * 1000))) },
        { ...axis, size: 56, values: (_, splits) => splits.map((value) => this.lines[0][3](value)) },
      ],
      series: [
        {},
        ...this.lines.map(([label, , name], place) => ({
          label, stroke: colour(name), width: 1.5, points: { show: false }, dash: place ? [5, 3] : [], spanGaps: true,
        })),
      ],
    };
  }

  #tabulate() {
    const columns = [["time", (each) => clock(each.at_ms)], ...this.lines.map(([label, value, , write]) => [label, (each) => write(value(each)), "n"])];
    this.numbers.replaceChildren(this.numbers.firstChild, table(this.title, columns, this.seconds.slice(-60).reverse()));
  }
}
