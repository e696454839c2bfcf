// Questions to the admin listener. The token lives in this module's memory: not in a cookie, not in storage, not in an
// address; it goes out in a header, to this origin alone.

let token = "";

export function useToken(value) {
  token = value;
}

export function headers(more = {}) {
  return token ? { Authorization: `Bearer ${token}`, ...more } : more;
}

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export async function get(path, signal) {
  return answer(await fetch(path, { headers: headers(), signal, cache: "no-store" }));
}

export async function send(method, path, body) {
  const options = { method, headers: headers(body === undefined ? {} : { "Content-Type": "application/json" }) };
  if (body !== undefined) options.body = JSON.stringify(body);
  return answer(await fetch(path, options));
}

async function answer(reply) {
  if (reply.ok) return reply.json();
  let said = `${reply.status} ${reply.statusText}`;
  try {
    said = (await reply.json()).error.message;
  } catch {
    // it was not ours: the status has to do
  }
  if (reply.status === 401) window.dispatchEvent(new Event("token-wanted"));
  throw new Refused(reply.status, said);
}

export function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return given.length ? `?${new URLSearchParams(given)}` : "";
}
