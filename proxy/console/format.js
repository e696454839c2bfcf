// Numbers and instants as people read them. Money is integer nano-dollars; times are shown in this machine's zone.

export function usd(nanos, digits) {
  if (nanos === null || nanos === undefined) return "unpriced";
  const value = nanos / 1e9;
  const places = digits ?? (Math.abs(value) >= 100 ? 2 : Math.abs(value) >= 0.01 || value === 0 ? 4 : 6);
  return `$${value.toFixed(places)}`;
}

/** The exact amount of integer pico-dollars. */
export function picos(value) {
  const text = BigInt(value).toString().padStart(13, "0");
  return `$${text.slice(0, -12)}.${text.slice(-12).replace(/0+$/, "").padEnd(2, "0")}`;
}

export function count(value) {
  if (value === null || value === undefined) return "–";
  if (Math.abs(value) < 10_000) return value.toLocaleString("en");
  return new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(value);
}

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  return value < 100 ? `${value.toFixed(2)} s` : `${Math.round(value)} s`;
}

export function percent(part, whole, digits = 0) {
  return whole ? `${((100 * part) / whole).toFixed(digits)} %` : "–";
}

export function clock(ms) {
  return ms ? new Date(ms).toLocaleTimeString([], { hour12: false }) : "–";
}

export function instant(value) {
  return value ? new Date(value).toLocaleString([], { hour12: false }) : "–";
}

export function rate(value) {
  return value >= 100 ? String(Math.round(value)) : value.toFixed(1);
}
