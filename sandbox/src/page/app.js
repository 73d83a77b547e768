// The page's state and actions: reads the API, follows its changes, lets a manager act.

import {
  $, accountChip, chatItem, el, entryPanel, fact, journalItem, messageItem, messageRows, paintAvatar, reconcile, said, snippet,
} from "/view.js";

const JOURNAL_SHOWN = 200;
const TYPING_EVERY_MS = 5000;

let state = null;
let chats = [];
let journal = [];
let openId = decodeURIComponent(location.hash.slice(1)) || null;
let typedAt = 0;
/** Whether the open chat is scrolled to its end, and so stays there. */
let atEnd = true;
/** The message that the answer will quote. */
let quoted = null;
/** The timers of the chats in which the client is typing. */
const typingClients = new Map();
const drafts = new Map();
/** What to read anew; filled by events, emptied by `refresh`. */
const stale = new Set();
let refreshing = false;

async function api(path, body) {
  const request = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  const response = await fetch(`/api/${path}`, request);
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.error ?? `status ${response.status}`), { status: response.status });
  return answer;
}

const chatPath = (id) => `chats/${encodeURIComponent(id)}`;

/** One reader at a time: changes that come meanwhile are read in the next round. */
async function refresh(...what) {
  what.forEach((part) => stale.add(part));
  if (refreshing) return;
  refreshing = true;
  try {
    while (stale.size > 0) {
      const parts = new Set(stale);
      stale.clear();
      if (parts.has("all")) ["state", "chats", "open", "journal"].forEach((part) => parts.add(part));
      if (parts.has("all")) journal = [];
      const jobs = [];
      if (parts.has("state")) jobs.push(readState());
      if (parts.has("chats")) jobs.push(readChats());
      if (parts.has("open")) jobs.push(readOpen());
      if (parts.has("journal")) jobs.push(readJournal());
      await Promise.all(jobs);
    }
  } catch {
    // The sandbox is away; the event stream says so and asks for all when it is back.
  } finally {
    refreshing = false;
  }
}

async function readState() {
  state = await api("state");
  reconcile($("accounts"), state.accounts, (account) => account.account_id, accountChip);
  const facts = [
    ["API", state.api], ["Channel id", state.channel.channel_id], ["Secret", state.channel.secret],
    ...state.accounts.map((account) => ["Account id", account.account_id]), ["Bot id", state.channel.bot_ref_id],
  ];
  $("fact-list").replaceChildren(...facts.flatMap(([name, value]) => fact(name, value, copy)));
  $("snippet").textContent = snippet(state);
  if (document.activeElement !== $("webhook-url")) $("webhook-url").value = state.webhook_url ?? "";
  showCompanion(state.companion_url);
  $("write-account").replaceChildren(...state.accounts.map(({ account_id: id }) => el("option", { value: id, text: id })));
  $("write-account-field").hidden = state.accounts.length === 1;
  $("write-first").hidden = state.personality === "gen1";
}

function showCompanion(url) {
  if (!url || $("phone").hasChildNodes()) return;
  $("phone").append(el("iframe", { "data-testid": "companion", title: "The client's messenger", src: url }));
  $("client-switch").hidden = false;
  showClient("phone");
}

function showClient(part) {
  $("phone").hidden = part !== "phone";
  $("facts").hidden = part !== "facts";
  for (const button of $("client-switch").children) button.setAttribute("aria-pressed", button.dataset.show === part);
}

async function readChats() {
  ({ chats } = await api("chats"));
  drawChats();
}

function drawChats() {
  reconcile($("chat-list"), chats.map((chat) => ({
    chat, current: chat.conversation_ref_id === openId, typing: typingClients.has(chat.conversation_ref_id),
  })),
    ({ chat }) => chat.conversation_ref_id, chatItem(open));
  $("chats-empty").hidden = chats.length > 0;
  const unread = chats.reduce((sum, chat) => sum + chat.unread, 0);
  $("tab-unread").textContent = unread;
  $("tab-unread").hidden = unread === 0;
  const shown = chats.find((chat) => chat.conversation_ref_id === openId);
  $("typing").hidden = !typingClients.has(openId);
  $("typing").textContent = $("typing").hidden ? "" : `${shown?.client.name ?? "The client"} is typing`;
  document.title = unread ? `(${unread}) amochats sandbox` : "amochats sandbox";
}

async function readOpen() {
  if (!openId) return;
  const id = openId;
  let seen;
  try {
    seen = await api(chatPath(id));
  } catch (error) {
    if (error.status === 404) open(null);
    else throw error;
    return;
  }
  if (id !== openId) return;
  const { chat, messages } = seen;
  const list = $("messages");
  const newChat = list.dataset.chat !== id;
  if (newChat) list.replaceChildren();
  list.dataset.chat = id;
  $("conversation-empty").hidden = true;
  $("open-chat").hidden = false;
  $("chats").dataset.open = "true";
  paintAvatar($("head-avatar"), chat.client);
  $("head-name").textContent = chat.client.name;
  $("head-ids").textContent = [chat.client.phone, chat.client.email, chat.conversation_id ?? "not answered yet"].filter(Boolean).join(" · ");
  $("head-lead").hidden = !chat.lead;
  $("head-lead").textContent = chat.lead ? `Incoming lead ${chat.lead.id}` : "";
  reconcile(list, messageRows(messages), (row) => row.key, messageItem(messages, { quote, react }));
  if (newChat) grow();
  if (newChat || atEnd) toEnd();
  if (chat.unread > 0 && !document.hidden) await api(`${chatPath(id)}/read`, {});
}

function toEnd() {
  atEnd = true;
  $("messages").scrollTop = $("messages").scrollHeight;
}

async function readJournal() {
  const after = journal[0]?.seq ?? 0;
  const { entries } = await api(`journal?after=${after}`);
  journal = [...entries.reverse(), ...journal].slice(0, JOURNAL_SHOWN);
  reconcile($("journal"), journal, (entry) => entry.seq, journalItem(loadEntry));
  $("journal-empty").hidden = journal.length > 0;
}

async function loadEntry({ seq }) {
  try {
    return entryPanel(await api(`journal/${seq}`));
  } catch {
    return [el("p", { class: "sentence bad", text: "This entry is no longer kept." })];
  }
}

function open(id) {
  if (openId) drafts.set(openId, $("answer").value);
  openId = id;
  history.replaceState(null, "", id ? `#${encodeURIComponent(id)}` : location.pathname);
  $("answer").value = (id && drafts.get(id)) ?? "";
  grow();
  $("composer-hint").textContent = "";
  typedAt = 0;
  quote(null);
  drawChats();
  if (!id) {
    $("open-chat").hidden = true;
    $("conversation-empty").hidden = false;
    $("chats").dataset.open = "false";
    return;
  }
  refresh("open").then(() => matchMedia("(hover: hover)").matches && $("answer").focus());
}

async function copy(button, text) {
  const said = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Press Ctrl+C";
    getSelection().selectAllChildren(button.parentElement.querySelector("code") ?? $("snippet"));
  }
  setTimeout(() => { button.textContent = said; }, 1500);
}

/** The answer box is as high as its text, up to the limit in the style sheet. */
function grow() {
  const box = $("answer");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight + 2}px`;
  box.style.overflowY = box.scrollHeight > box.clientHeight + 4 ? "auto" : "hidden";
}

async function answer() {
  const text = $("answer").value.trim();
  const address = $("attach").hidden ? "" : $("attach-url").value.trim();
  if (!openId || (!text && !address)) return;
  const message = { text };
  if (/\.(png|jpe?g|gif|webp|avif|svg)([?#]|$)/i.test(address)) message.picture = address;
  else if (address) message.file = { url: address, file_name: address.split(/[?#]/)[0].split("/").pop() };
  if (quoted) message.reply_to = quoted.message_ref_id;
  const [id, was] = [openId, quoted];
  $("answer").value = "";
  quote(null);
  drafts.delete(id);
  typedAt = 0;
  grow();
  try {
    const sent = api(`${chatPath(id)}/messages`, message);
    toEnd();
    await sent;
    $("composer-hint").textContent = "";
    $("attach-url").value = "";
    toggleAttach(false);
  } catch (error) {
    if (openId === id && !$("answer").value) {
      $("answer").value = text;
      quote(was);
    }
    $("composer-hint").textContent = `Not sent: ${error.message}`;
  }
}

function typing() {
  grow();
  if (!openId || !$("answer").value.trim() || Date.now() - typedAt < TYPING_EVERY_MS) return;
  typedAt = Date.now();
  api(`${chatPath(openId)}/typing`, {}).catch(() => {});
}

function quote(message) {
  quoted = message;
  $("quoting").hidden = !message;
  $("quoted-text").textContent = message ? said(message) : "";
  if (message) $("answer").focus();
}

async function react(message, emoji) {
  try {
    await api(`${chatPath(message.conversation_ref_id)}/reactions`, { message_ref_id: message.message_ref_id, emoji });
    $("composer-hint").textContent = "";
  } catch (error) {
    $("composer-hint").textContent = `No reaction: ${error.message}`;
  }
}

/** A client types in a chat: shown for so long, or until something is written. */
function clientTypes(id, duration) {
  clearTimeout(typingClients.get(id));
  typingClients.delete(id);
  if (duration > 0) typingClients.set(id, setTimeout(() => clientTypes(id, 0), duration));
  drawChats();
}

function toggleAttach(shown) {
  $("attach").hidden = !shown;
  $("attach-toggle").setAttribute("aria-expanded", shown);
  if (shown) $("attach-url").focus();
}

function show(view) {
  $("main").dataset.view = view;
  for (const tab of document.querySelectorAll(".tabs button")) {
    if (tab.dataset.view === view) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
}

function live(stateName, said) {
  $("live").dataset.state = stateName;
  $("live").firstElementChild.textContent = said;
}

function follow() {
  const events = new EventSource("/api/events");
  events.addEventListener("open", () => live("on", "Live"));
  events.addEventListener("reload", () => refresh("all"));
  events.addEventListener("change", (event) => {
    const change = JSON.parse(event.data);
    if (change.type === "journal") refresh("journal");
    else if (change.type === "settings" || change.type === "account") refresh("state");
    else if (change.type === "typing") clientTypes(change.conversation_ref_id, change.duration_ms);
    else {
      if (change.type === "message") clientTypes(change.conversation_ref_id, 0);
      refresh("chats", ...change.conversation_ref_id === openId ? ["open"] : []);
    }
  });
  events.addEventListener("error", () => {
    live("off", "Reconnecting…");
    // The browser tries again by itself, except after an answer that is no stream.
    if (events.readyState === EventSource.CLOSED) setTimeout(follow, 2000);
  });
}

$("composer").addEventListener("submit", (event) => { event.preventDefault(); answer(); });
$("answer").addEventListener("input", typing);
$("answer").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); answer(); }
});
$("messages").addEventListener("scroll", ({ currentTarget: list }) => {
  atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
});
new ResizeObserver(() => atEnd && toEnd()).observe($("messages"));
$("unquote").addEventListener("click", () => { quote(null); $("answer").focus(); });
$("attach-toggle").addEventListener("click", () => toggleAttach($("attach").hidden));
$("back").addEventListener("click", () => { open(null); $("chat-list").querySelector("button")?.focus(); });
$("chat-list").addEventListener("keydown", (event) => {
  const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  const next = step && event.target.closest("li")?.[step]?.querySelector("button");
  if (next) { event.preventDefault(); next.focus(); }
});
$("copy-snippet").addEventListener("click", (event) => copy(event.currentTarget, $("snippet").textContent));
$("client-switch").addEventListener("click", (event) => event.target.dataset.show && showClient(event.target.dataset.show));
$("webhook-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await api("webhook", { url: $("webhook-url").value.trim() });
    $("webhook-hint").textContent = "Saved.";
  } catch (error) {
    $("webhook-hint").textContent = error.message;
  }
});
$("write-first").addEventListener("click", () => { $("write-hint").textContent = ""; $("write-dialog").showModal(); });
$("write-cancel").addEventListener("click", () => $("write-dialog").close());
$("write-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [account_id, phone, text] = [$("write-account").value, $("write-phone").value, $("write-text").value];
  try {
    const sent = await api("chats", { account_id, phone, text });
    $("write-form").reset();
    $("write-dialog").close();
    open(sent.conversation_ref_id);
  } catch (error) {
    $("write-hint").textContent = error.message;
  }
});
document.querySelector(".tabs").addEventListener("click", (event) => {
  const tab = event.target.closest("button");
  if (tab) show(tab.dataset.view);
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh("open"); });

show("chats");
follow();
