// The sandbox's control API, and its changes as they happen.

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function call(method, path, { json, body, headers } = {}) {
  let response;
  try {
    response = await fetch(`/api/${path}`, {
      method,
      headers: { ...json !== undefined && { "Content-Type": "application/json" }, ...headers },
      body: json === undefined ? body : JSON.stringify(json),
    });
  } catch {
    throw new Refused(0, "the sandbox cannot be reached");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, answer.error ?? `the sandbox answered ${response.status}`);
  return answer;
}

/** A path with its parameters, without those that say nothing. */
export function query(path, parameters) {
  const said = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return said.length === 0 ? path : `${path}?${new URLSearchParams(said)}`;
}

export const get = (path, parameters = {}) => call("GET", query(path, parameters));
export const post = (path, json = {}) => call("POST", path, { json });
export const patch = (path, json) => call("PATCH", path, { json });
export const put = (path, json) => call("PUT", path, { json });

export const chatPath = (id) => `chats/${encodeURIComponent(id)}`;

/** Puts a file where the channel can fetch it. */
export const upload = (file) => call("POST", query("files", { name: file.name }), {
  body: file, headers: { "Content-Type": "application/octet-stream" },
});

/** Sends a file to a place that takes it in the stead of what is there. */
export const load = (path, file) => call("PUT", path, { body: file, headers: { "Content-Type": "application/octet-stream" } });

/** Follows the changes for as long as the page lives: `on` has `live`, `reload`, `change` and `lost`. */
export function follow(on) {
  const events = new EventSource("/api/events");
  events.addEventListener("open", on.live);
  events.addEventListener("reload", on.reload);
  events.addEventListener("change", (event) => on.change(JSON.parse(event.data)));
  events.addEventListener("error", () => {
    on.lost();
    // The browser tries again by itself, except after an answer that is no stream.
    if (events.readyState === EventSource.CLOSED) setTimeout(() => follow(on), 2000);
  });
}

/** Puts the content of a snapshot's file in the place of everything. */
export const restore = (file) => call("PUT", "snapshot", { body: file, headers: { "Content-Type": "application/json" } });
