// What the page knows, in one place. Views read it by `useStore`; data modules write it by `set`.

import { useEffect, useReducer, useRef } from "../vendor/preact-htm.js";

const listeners = new Set();

export let state = {
  /** Whether changes arrive: `waiting`, `on` or `off`. */
  link: "waiting",
  route: { view: "chats", id: null },
  /** The chat that is open, also while another view is shown. */
  chatId: null,
  /** What `GET /api/state` says. */
  server: null,
  /** The account and channel whose chats are listed; empty for all. */
  scope: { account_id: "", channel_id: "" },
  search: "",
  /** The listed chats. `items` is the beginning of the whole list, `next` the cursor behind it. */
  chats: { items: [], next: null, total: 0, loaded: false, loading: false },
  /** The chat on the right. `messages` is the end of the whole conversation, `previous` the cursor before it. */
  open: null,
  /** The chats in which the client is typing. */
  typing: {},
  /** The user as whom the manager writes, for each account. */
  writer: {},
  journal: { entries: [], more: false, loaded: false, filter: { kind: "", direction: "", ok: "", q: "" }, kinds: [], last: null },
  /** What is beside the conversation, if it was chosen: `phone` or `contact`. */
  side: null,
  /** Whether the search box is to be focused, once it is in sight. */
  searching: false,
  /** The dialog that is open, by name, with what it is about. */
  dialog: null,
  /** A sentence for a moment, said by screen readers, too. */
  notice: null,
  theme: localStorage.getItem("theme") ?? "system",
};

export function set(patch) {
  state = { ...state, ...patch };
  for (const listener of [...listeners]) listener();
}

/** Draws a view again when what it selects is another value. */
export function useStore(select) {
  const [, draw] = useReducer((n) => n + 1, 0);
  const shown = useRef();
  const selector = useRef();
  selector.current = select;
  shown.current = select(state);
  useEffect(() => {
    const look = () => { if (!Object.is(selector.current(state), shown.current)) draw(); };
    listeners.add(look);
    look();
    return () => listeners.delete(look);
  }, []);
  return shown.current;
}

let noticeTimer;

export function notify(text, kind = "info") {
  clearTimeout(noticeTimer);
  set({ notice: { text, kind } });
  noticeTimer = setTimeout(() => set({ notice: null }), kind === "error" ? 8000 : 3000);
}

/** Runs something that may be refused, and says why it was. Resolves to whether it worked. */
export async function attempt(what, run) {
  try {
    await run();
    return true;
  } catch (error) {
    notify(`${what}: ${error.message}`, "error");
    return false;
  }
}

export const openDialog = (name, about = {}) => set({ dialog: { name, ...about } });
export const closeDialog = () => set({ dialog: null });

export function setTheme(theme) {
  localStorage.setItem("theme", theme);
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  set({ theme });
}

const VIEWS = ["chats", "client", "journal", "channels", "controls"];

export function go(view, id = null) {
  location.hash = id ? `#/${view}/${encodeURIComponent(id)}` : `#/${view}`;
}

export function readRoute() {
  const [view, id] = location.hash.replace(/^#\/?/, "").split("/");
  const route = { view: VIEWS.includes(view) ? view : "chats", id: id ? decodeURIComponent(id) : null };
  set({ route, ...route.view === "chats" && { chatId: route.id } });
}
