// The list of chats: 10,000 of them are as quick as ten, since only those in sight are in the page.

import { html, useEffect, useLayoutEffect, useRef, useState } from "../../vendor/preact-htm.js";
import { counted, full, iso, number, said, when } from "../format.js";
import { Icon, Ticks } from "../icons.js";
import { choose, loadMoreChats, search } from "../inbox.js";
import { attempt, go, openDialog, set, useStore } from "../store.js";
import { Avatar, Empty, IconButton } from "../ui.js";

/** The height of a row, as in the style sheet. */
const ROW = 76;
const OVERSCAN = 6;

function Preview({ chat, typing }) {
  const last = chat.last_message;
  if (typing) return html`<span class="preview types">typing…</span>`;
  if (!last) return html`<span class="preview"></span>`;
  const own = last.author.party !== "client";
  return html`
    ${own && html`<${Ticks} state=${last.delivery.state} />`}
    <span class="preview">${own && html`<span class="preview-author">${last.author.name}: </span>`}${said(last)}</span>`;
}

function Row({ chat, index, total, current, typing, tabbable, account }) {
  const { client, unread, lead, last_message: last } = chat;
  return html`
    <li class="chat-row" style=${{ transform: `translateY(${index * ROW}px)` }} aria-setsize=${total} aria-posinset=${index + 1}>
      <button type="button" class="chat-item" data-testid="chat-item" data-chat=${chat.conversation_ref_id} data-index=${index} data-unread=${unread}
        aria-current=${current ? "true" : undefined} tabindex=${tabbable ? 0 : -1} onClick=${() => go("chats", chat.conversation_ref_id)}>
        <${Avatar} id=${client.user_ref_id} name=${client.name} />
        <span class="chat-top">
          <span class="name">${client.name}</span>
          ${last && html`<time datetime=${iso(last.sent_at_msec)} title=${full(last.sent_at_msec)}>${when(last.sent_at_msec)}</time>`}
        </span>
        <span class="chat-middle">
          <${Preview} chat=${chat} typing=${typing} />
          ${unread > 0 && html`<span class="count" aria-label=${`${unread} unread`}>${unread > 99 ? "99+" : unread}</span>`}
        </span>
        <span class="chat-bottom">
          ${lead && html`<span class="badge lead">Incoming lead</span>`}
          <span class="chat-account">${account ?? client.phone ?? client.email ?? ""}</span>
        </span>
      </button>
    </li>`;
}

/** The rows in sight of a list that is scrolled, and what scrolls it. */
function useWindow(count, tall) {
  const list = useRef();
  const [{ top, height }, setView] = useState({ top: 0, height: 800 });
  const look = () => list.current && setView({ top: list.current.scrollTop, height: list.current.clientHeight });
  useLayoutEffect(look, [count, tall]);
  useEffect(() => {
    const observer = new ResizeObserver(look);
    observer.observe(list.current);
    return () => observer.disconnect();
  }, []);
  const start = Math.max(0, Math.floor(top / ROW) - OVERSCAN);
  const end = Math.min(count, Math.ceil((top + height) / ROW) + OVERSCAN);
  return { list, look, start, end };
}

function Scope() {
  const server = useStore((state) => state.server);
  const scope = useStore((state) => state.scope);
  if (!server) return null;
  const pick = (what) => (event) => {
    const { value } = event.currentTarget;
    attempt("Not listed", () => choose({ [what]: value }));
  };
  const { accounts, channels } = server;
  if (accounts.length < 2 && channels.length < 2) return null;
  return html`
    <div class="scope">
      ${accounts.length > 1 && html`
        <label><span class="sr">Account</span>
          <select value=${scope.account_id} onChange=${pick("account_id")} data-testid="account-switch">
            <option value="">All accounts</option>
            ${accounts.map((account) => html`<option key=${account.account_id} value=${account.account_id}>${account.name}</option>`)}
          </select></label>`}
      ${channels.length > 1 && html`
        <label><span class="sr">Channel</span>
          <select value=${scope.channel_id} onChange=${pick("channel_id")} data-testid="channel-switch">
            <option value="">All channels</option>
            ${channels.map((channel) => html`<option key=${channel.channel_id} value=${channel.channel_id}>${channel.title}</option>`)}
          </select></label>`}
    </div>`;
}

export function ChatList() {
  const chats = useStore((state) => state.chats);
  const openId = useStore((state) => state.chatId);
  const typing = useStore((state) => state.typing);
  const query = useStore((state) => state.search);
  const searching = useStore((state) => state.searching);
  const view = useStore((state) => state.route.view);
  const server = useStore((state) => state.server);
  const { items, total, loaded, next } = chats;
  const { list, look, start, end } = useWindow(items.length, loaded);
  const [focused, setFocused] = useState(0);

  useEffect(() => {
    if (next && end > items.length - 15) attempt("No more chats", loadMoreChats);
  }, [end, items.length, next]);
  useEffect(() => {
    if (!searching || view !== "chats") return;
    document.getElementById("chat-search").focus();
    set({ searching: false });
  }, [searching, view]);
  // Another search begins at the top.
  useEffect(() => { if (list.current) list.current.scrollTop = 0; }, [query]);

  const current = items.findIndex((chat) => chat.conversation_ref_id === openId);
  const inSight = (index) => index >= start && index < end;
  const tabbable = inSight(focused) && focused < items.length ? focused : inSight(current) ? current : start;
  const keys = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const from = Number(event.target.dataset?.index);
    if (!step || Number.isNaN(from)) return;
    event.preventDefault();
    const node = list.current.querySelector(`[data-index="${from + step}"]`);
    if (!node) return;
    setFocused(from + step);
    node.focus({ preventScroll: true });
    node.scrollIntoView({ block: "nearest" });
  };
  const name = (chat) => (server?.accounts.length > 1 ? server.accounts.find(({ account_id: id }) => id === chat.account_id)?.name : null);

  return html`
    <section class="list" aria-labelledby="chats-title">
      <header class="pane-head">
        <h2 id="chats-title">Chats ${loaded && total > 0 && html`<span class="total">${number(total)}</span>`}</h2>
        ${server && server.personality !== "gen1" && html`<${IconButton} icon="compose" label="Write first" onClick=${() => openDialog("write-first")} />`}
      </header>
      <div class="list-tools">
        <label class="search">
          <${Icon} name="search" /><span class="sr">Search chats</span>
          <input id="chat-search" type="search" autocomplete="off" spellcheck="false" placeholder="Search chats"
            value=${query} onInput=${(event) => { const { value } = event.currentTarget; attempt("No search", () => search(value)); }} />
          <kbd aria-hidden="true">/</kbd>
        </label>
        <${Scope} />
      </div>
      <p class="sr" role="status">${loaded && query ? counted(total, "chat") : ""}</p>
      <div class="chat-scroll" ref=${list} onScroll=${look} onKeyDown=${keys} data-testid="chat-list">
        ${items.length > 0 && html`
          <ul class="chat-rows" role="list" aria-label="Chats" style=${{ height: `${items.length * ROW}px` }}>
            ${items.slice(start, end).map((chat, i) => html`
              <${Row} key=${chat.conversation_ref_id} chat=${chat} index=${start + i} total=${total} current=${chat.conversation_ref_id === openId}
                typing=${typing[chat.conversation_ref_id]} tabbable=${start + i === tabbable} account=${name(chat)} />`)}
          </ul>`}
        ${loaded && items.length === 0 && (query
          ? html`<${Empty} icon="search" title="Nothing found"><p class="muted">No chat has “${query}” in its name, phone or messages.</p></${Empty}>`
          : html`<${Empty} icon="chats" title="No chats yet"><p class="muted">The first message of a client makes a contact, a chat and an incoming lead.</p></${Empty}>`)}
      </div>
    </section>`;
}
