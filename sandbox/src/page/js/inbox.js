// The chats and the open conversation: read by pages, kept up to date by events.

import * as api from "./api.js";
import { go, set, state } from "./store.js";

const PAGE = 50;
/** Who scrolls on wants more at once. */
const MORE = 200;
/** How many pages are read in search of a quoted message. */
const QUOTE_PAGES = 40;

const listed = () => ({ ...state.scope, q: state.search.trim(), limit: PAGE });

/** Grows with every question for the list, so that a late answer to an earlier one is not shown. */
let asked = 0;
/** Grows with every change that was read, which an answer on its way may not know of. */
let refreshed = 0;

export async function loadChats() {
  const mine = ++asked;
  const before = refreshed;
  const { chats, next, total } = await api.get("chats", listed());
  if (mine !== asked) return;
  set({ chats: { items: chats, next, total, loaded: true, loading: false } });
  if (refreshed !== before) refresh();
}

export async function loadMoreChats() {
  const { next, loading } = state.chats;
  if (!next || loading) return;
  const mine = asked;
  set({ chats: { ...state.chats, loading: true } });
  try {
    const page = await api.get("chats", { ...listed(), limit: MORE, before: next });
    if (mine !== asked) return;
    const known = new Set(state.chats.items.map((chat) => chat.conversation_ref_id));
    const items = [...state.chats.items, ...page.chats.filter((chat) => !known.has(chat.conversation_ref_id))];
    set({ chats: { items, next: page.next, total: page.total, loaded: true, loading: false } });
  } finally {
    if (mine === asked && state.chats.loading) set({ chats: { ...state.chats, loading: false } });
  }
}

/** Reads the beginning of the list anew. What changed further down is read by itself. */
export async function refreshChats(changed = []) {
  const mine = asked;
  const first = await api.get("chats", listed());
  if (mine !== asked) {
    refreshed += 1;
    return;
  }
  const fresh = new Map(first.chats.map((chat) => [chat.conversation_ref_id, chat]));
  const below = state.chats.items.filter((chat) => !fresh.has(chat.conversation_ref_id));
  const stale = changed.filter((id) => below.some((chat) => chat.conversation_ref_id === id));
  const again = new Map(await Promise.all(stale.map(async (id) => [id, (await api.get(api.chatPath(id))).chat])));
  refreshed += 1;
  if (mine !== asked) return;
  const short = state.chats.items.length <= PAGE;
  const items = first.next ? [...first.chats, ...below.map((chat) => again.get(chat.conversation_ref_id) ?? chat)] : first.chats;
  // A list that was one page goes on behind that page; a longer one behind its own end.
  const next = !first.next || short ? first.next : state.chats.next;
  set({ chats: { items: short ? first.chats : items, next, total: first.total, loaded: true, loading: state.chats.loading } });
}

export function search(text) {
  set({ search: text });
  return loadChats();
}

export function choose(scope) {
  set({ scope: { ...state.scope, ...scope } });
  return loadChats();
}

/** Puts messages among those that are there, in the order of their times. */
function merge(known, fresh) {
  const byId = new Map(fresh.map((message) => [message.message_ref_id, message]));
  const merged = known.map((message) => {
    const now = byId.get(message.message_ref_id);
    byId.delete(message.message_ref_id);
    return now && JSON.stringify(now) !== JSON.stringify(message) ? now : message;
  });
  for (const message of byId.values()) {
    const last = merged.at(-1);
    if (!last || last.sent_at_msec <= message.sent_at_msec) merged.push(message);
    else merged.splice(merged.findIndex((other) => other.sent_at_msec > message.sent_at_msec), 0, message);
  }
  return merged;
}

/** Whether something changed in the chat that is being opened. */
let missed = false;

/** Of each message, behind which cursor its page began, to read that page again. */
let cursors = new Map();

async function page(id, before) {
  const { messages, previous } = await api.get(`${api.chatPath(id)}/messages`, { limit: PAGE, before });
  return { messages, previous };
}

export async function openChat(id) {
  if (!id) {
    set({ open: null });
    return;
  }
  if (state.open?.id === id) return;
  cursors = new Map();
  missed = false;
  set({ open: { id, chat: state.chats.items.find((chat) => chat.conversation_ref_id === id) ?? null, messages: [], previous: null, loaded: false } });
  try {
    const [{ chat }, { messages, previous }] = await Promise.all([api.get(api.chatPath(id)), page(id)]);
    if (state.open?.id !== id) return;
    set({ open: { ...state.open, chat, messages, previous, loaded: true } });
    if (missed) refresh({ chat: id });
    await seen();
  } catch (error) {
    if (error.status === 404) go("chats");
    else throw error;
  }
}

let readingOlder = null;

/** Reads the page before the first message. */
export function loadOlder() {
  const { id, previous } = state.open ?? {};
  if (!previous || readingOlder) return readingOlder;
  readingOlder = page(id, previous).then((older) => {
    if (state.open?.id !== id) return;
    for (const message of older.messages) cursors.set(message.message_ref_id, previous);
    set({ open: { ...state.open, messages: [...older.messages, ...state.open.messages], previous: older.previous } });
  }).finally(() => { readingOlder = null; });
  return readingOlder;
}

/** Reads on until a quoted message is there. */
export async function reach(find) {
  for (let i = 0; i < QUOTE_PAGES && !state.open?.messages.some(find) && state.open?.previous; i += 1) await loadOlder();
  return state.open?.messages.find(find) ?? null;
}

/** Reads the open chat anew: its end, and the pages of messages that changed further up. */
async function refreshOpen(changed = []) {
  const { id, loaded } = state.open ?? {};
  if (!loaded) missed = true;
  if (!id || !loaded) return;
  const pages = new Set([undefined, ...changed.map((message) => cursors.get(message))]);
  try {
    const [{ chat }, ...read] = await Promise.all([api.get(api.chatPath(id)), ...[...pages].map((before) => page(id, before))]);
    if (state.open?.id !== id) return;
    const [end] = read;
    const { messages: known } = state.open;
    // More came than a page holds: what is between is read by scrolling up.
    const gap = end.previous && known.length > 0 && !end.messages.some((message) => known.some((other) => other.message_ref_id === message.message_ref_id));
    if (gap) cursors = new Map();
    const messages = gap ? end.messages : read.reduce((merged, { messages: fresh }) => merge(merged, fresh), known);
    set({ open: { ...state.open, chat, messages, previous: gap || known.length === 0 ? end.previous : state.open.previous } });
    await seen();
  } catch (error) {
    if (error.status === 404) go("chats");
    else throw error;
  }
}

/** A manager who looks at a chat has read it. */
export async function seen() {
  const { id, chat } = state.open ?? {};
  if (chat?.unread > 0 && !document.hidden && state.route.view === "chats") await api.post(`${api.chatPath(id)}/read`);
}

const typingTimers = new Map();

/** A client types: shown for so long, or until something is written. */
export function clientTypes(id, duration) {
  clearTimeout(typingTimers.get(id));
  const { [id]: _, ...typing } = state.typing;
  if (duration > 0) {
    typingTimers.set(id, setTimeout(() => clientTypes(id, 0), duration));
    typing[id] = true;
  }
  set({ typing });
}

const stale = { all: false, chats: new Set(), messages: new Set(), some: false };
let refreshing = false;

/** What an event says is read in the next round, one round at a time. */
export async function refresh({ all = false, chat, message } = {}) {
  stale.all ||= all;
  stale.some = true;
  if (chat) stale.chats.add(chat);
  if (message) stale.messages.add(message);
  if (refreshing) return;
  refreshing = true;
  try {
    while (stale.some) {
      const round = { all: stale.all, chats: [...stale.chats], messages: [...stale.messages] };
      Object.assign(stale, { all: false, some: false });
      stale.chats.clear();
      stale.messages.clear();
      const ours = round.all || round.chats.includes(state.open?.id);
      await Promise.all([round.all ? loadChats() : refreshChats(round.chats), ours && refreshOpen(round.messages)]);
    }
  } catch {
    // The sandbox is away: the events say so, and ask for all when it is back.
  } finally {
    refreshing = false;
  }
}

/** The users of the account of the open chat, and the one as whom the manager writes. */
export function writers() {
  const account = state.server?.accounts.find(({ account_id: id }) => id === state.open?.chat?.account_id);
  const users = account?.users ?? [];
  const chosen = state.writer[account?.account_id];
  return { account, users, user: users.find((user) => user.user_ref_id === chosen) ?? users[0] ?? null };
}

export const send = (id, message) => api.post(`${api.chatPath(id)}/messages`, message);

export const react = (message, emoji) => api.post(`${api.chatPath(message.conversation_ref_id)}/reactions`, {
  message_ref_id: message.message_ref_id, emoji, user_ref_id: writers().user?.user_ref_id,
});

/** The manager types; under a post, where it is an answer to a comment. */
export const type = (id, post) => api.post(`${api.chatPath(id)}/typing`, { user_ref_id: writers().user?.user_ref_id, post_id: post });
