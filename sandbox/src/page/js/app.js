// The page: its frame, its keys, and what follows the sandbox.

import { html, render, useEffect } from "../vendor/preact-htm.js";
import * as api from "./api.js";
import { exact, number } from "./format.js";
import { Icon, Logo } from "./icons.js";
import { clientTypes, refresh, seen } from "./inbox.js";
import { followJournal, loadJournal } from "./log.js";
import { closeDialog, go, openDialog, readRoute, set, setTheme, state, useStore } from "./store.js";
import { IconButton, Segments } from "./ui.js";
import { ChatList } from "./views/chats.js";
import { Channels } from "./views/channels.js";
import { Controls } from "./views/controls.js";
import { Conversation } from "./views/conversation.js";
import { Dialogs } from "./views/dialogs.js";
import { Arrow, Journal, Status, Verdict } from "./views/journal.js";
import { Side } from "./views/side.js";

const VIEWS = [["chats", "Chats", "chats"], ["client", "Client", "phone"], ["journal", "Journal", "journal"], ["channels", "Channels", "channel"], ["controls", "Controls", "controls"]];
const THEMES = [["system", "As the system", "system"], ["light", "Light", "sun"], ["dark", "Dark", "moon"]];

const readServer = () => api.get("state").then((server) => set({ server }));
const quietly = (promise) => promise.catch(() => {
  // The sandbox is away: the events say so, and ask for all when it is back.
});

/** Reads everything anew. */
function readAll() {
  quietly(readServer());
  quietly(loadJournal());
  refresh({ all: true });
}

function Bar() {
  const link = useStore((store) => store.link);
  const theme = useStore((store) => store.theme);
  return html`
    <header class="bar">
      <h1 class="brand"><${Logo} />amochats <span>sandbox</span></h1>
      <p class="live" role="status" data-state=${link}>${{ waiting: "Connecting…", on: "Live", off: "Reconnecting…" }[link]}</p>
      <${Segments} label="Colours" value=${theme} options=${THEMES} onChange=${setTheme} />
      <${IconButton} icon="keyboard" label="Keys" class="keys-button" onClick=${() => openDialog("keys")} />
    </header>`;
}

function Rail() {
  const { view } = useStore((store) => store.route);
  const items = useStore((store) => store.chats.items);
  const companion = useStore((store) => store.server?.companion_url);
  const chatId = useStore((store) => store.chatId);
  const faults = useStore((store) => store.server?.faults.rules.length > 0);
  const unread = items.reduce((sum, chat) => sum + chat.unread, 0);
  // Who comes back from another view finds the chat that was open; who is there already, the list.
  const address = (key) => (key === "chats" && view !== "chats" && chatId ? `#/chats/${encodeURIComponent(chatId)}` : `#/${key}`);
  useEffect(() => { document.title = unread ? `(${unread}) amochats sandbox` : "amochats sandbox"; }, [unread]);
  return html`
    <nav class="rail" aria-label="Areas">
      ${VIEWS.filter(([key]) => key !== "client" || companion).map(([key, words, icon]) => html`
        <a key=${key} href=${address(key)} data-view=${key} aria-current=${view === key ? "page" : undefined}>
          <${Icon} name=${icon} /><span>${words}</span>
          ${key === "chats" && unread > 0 && html`<span class="count" aria-label=${`${unread} unread`}>${unread > 99 ? "99+" : number(unread)}</span>`}
          ${key === "controls" && faults && html`<span class="fault-mark" title="Faults are on"><span class="sr">Faults are on</span></span>`}
        </a>`)}
    </nav>`;
}

/** The last request or webhook, always in sight. */
function Ticker() {
  const last = useStore((store) => store.journal.last);
  if (!last) return html`<footer class="ticker"><span class="muted">Nothing has gone in or out yet.</span></footer>`;
  return html`
    <footer class="ticker">
      <a href=${`#/journal/${last.seq}`} data-testid="ticker"><span class="sr">The last: </span>
        <${Arrow} entry=${last} /><b>${last.kind === "unknown" ? last.method : last.kind.replaceAll("_", " ")}</b><${Status} status=${last.status} />
        <${Verdict} entry=${last} /><span class="ticker-words">${last.verdict.sentence}</span><time>${exact(last.at_msec)}</time>
      </a>
    </footer>`;
}

function Notice() {
  const notice = useStore((store) => store.notice);
  return html`<div class="notices" role="status" aria-live="polite">${notice && html`<p class="notice" data-kind=${notice.kind}>${notice.text}</p>`}</div>`;
}

function App() {
  const { view } = useStore((store) => store.route);
  const link = useStore((store) => store.link);
  const inbox = view === "chats" || view === "client";
  const open = useStore((store) => store.route.view === "chats" && Boolean(store.route.id));
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.getElementById("main").focus(); }}>To the content</a>
    <${Bar} />
    ${link === "off" && html`<p class="lost" role="alert" data-testid="lost"><${Icon} name="alert" />The sandbox does not answer. What you see is as it was; the page goes on by itself when it is back.</p>`}
    <div class="frame">
      <${Rail} />
      <main id="main" tabindex="-1" data-view=${view} data-open=${String(open)}>
        <div class="inbox" hidden=${!inbox}><${ChatList} /><${Conversation} /><${Side} /></div>
        <div class="view" hidden=${view !== "journal"}><${Journal} /></div>
        ${view === "channels" && html`<div class="view"><${Channels} /></div>`}
        ${view === "controls" && html`<div class="view"><${Controls} /></div>`}
      </main>
    </div>
    <${Ticker} />
    <${Notice} />
    <${Dialogs} />`;
}

function follow() {
  api.follow({
    live: () => set({ link: "on" }),
    lost: () => set({ link: "off" }),
    reload: readAll,
    change(change) {
      const chat = change.conversation_ref_id;
      if (change.type === "reset") readAll();
      else if (change.type === "journal") followJournal();
      else if (change.type === "typing") clientTypes(chat, change.duration_ms);
      else if (change.type === "message" || change.type === "chat") {
        if (change.type === "message") clientTypes(chat, 0);
        refresh({ chat, message: change.message_ref_id });
      } else quietly(readServer());
    },
  });
}

/** Keys that work wherever nobody is writing. */
function keys(event) {
  const writing = event.target.closest("input, textarea, select, dialog");
  if (event.key === "Escape" && !writing && state.route.id) go(state.route.view);
  else if (event.key === "Escape" && event.target.id === "chat-search") event.target.blur();
  if (writing || event.ctrlKey || event.metaKey || event.altKey) return;
  const run = {
    "/": () => { go("chats", state.chatId); set({ searching: true }); },
    "?": () => openDialog("keys"),
    n: () => state.server && state.server.personality !== "gen1" && openDialog("write-first"),
    t: () => setTheme(THEMES[(THEMES.findIndex(([key]) => key === state.theme) + 1) % THEMES.length][0]),
    1: () => go("chats", state.chatId), 2: () => go("journal"), 3: () => go("channels"), 4: () => go("controls"),
  }[event.key];
  if (!run) return;
  event.preventDefault();
  run();
}

addEventListener("hashchange", () => { readRoute(); closeDialog(); quietly(seen()); });
addEventListener("keydown", keys);
document.addEventListener("visibilitychange", () => { if (!document.hidden) quietly(seen()); });

setTheme(state.theme);
readRoute();
render(html`<${App} />`, document.getElementById("app"));
follow();
