// The console's calls. The token lives in this tab alone, and goes out in a header: no other page can
// make the browser send it.

const KEY = "amochats-token";

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const hasToken = () => sessionStorage.getItem(KEY) !== null;
export const keep = (token) => sessionStorage.setItem(KEY, token);
export const forget = () => sessionStorage.removeItem(KEY);

async function call(method, path, json, token = sessionStorage.getItem(KEY)) {
  let response;
  try {
    response = await fetch(`/console/api/${path}`, {
      method,
      headers: { Authorization: `Bearer ${token}`, ...json && { "Content-Type": "application/json" } },
      body: json && JSON.stringify(json),
    });
  } catch {
    throw new Refused(0, "the server cannot be reached");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, answer.error?.message ?? `the server answered ${response.status}`);
  return answer;
}

export function get(path, parameters = {}) {
  const said = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return call("GET", said.length === 0 ? path : `${path}?${new URLSearchParams(said)}`);
}

export const post = (path, json) => call("POST", path, json);
export const session = (token) => call("GET", "session", undefined, token);

/** What `/metrics` counts. */
export async function metrics() {
  const response = await fetch("/metrics");
  if (!response.ok) throw new Refused(response.status, "the metrics cannot be read");
  return response.text();
}
