// The open chat: its head, its messages and the composer.

import { Component, html, useEffect, useRef, useState } from "../../vendor/preact-htm.js";
import { counted, day, dayKey } from "../format.js";
import { Icon } from "../icons.js";
import { loadOlder, openChat, reach, react, writers } from "../inbox.js";
import { attempt, go, notify, openDialog, set, useStore } from "../store.js";
import { Avatar, IconButton } from "../ui.js";
import { Composer } from "./composer.js";
import { Message, Post, quotedOf } from "./message.js";
import { Welcome } from "./welcome.js";

/** Messages of one author within so long stand together. */
const TOGETHER_MS = 5 * 60_000;
/** How near to its end a list counts as scrolled to the end. */
const NEAR = 80;

/** Messages, days between them, and the post above a run of its comments. */
function rowsOf(messages) {
  const rows = [];
  let before = null;
  for (const message of messages) {
    const post = message.content.details?.post;
    const sameDay = before && dayKey(before.sent_at_msec) === dayKey(message.sent_at_msec);
    const samePost = sameDay && before?.content.details?.post?.id === post?.id;
    if (!sameDay) rows.push({ key: `day ${dayKey(message.sent_at_msec)} ${message.message_ref_id}`, day: day(message.sent_at_msec) });
    if (post && !samePost) rows.push({ key: `post ${message.message_ref_id}`, post });
    const together = samePost && before.author.user_ref_id === message.author.user_ref_id
      && message.sent_at_msec - before.sent_at_msec < TOGETHER_MS;
    rows.push({ key: message.message_ref_id, message, first: !together, thread: Boolean(post) });
    before = message;
  }
  return rows;
}

/** The scrolled list. It stays at its end while new messages come, and where it is while older ones do. */
class Messages extends Component {
  atEnd = true;

  componentDidMount() {
    this.props.handle.current = this;
    this.toEnd();
    this.observer = new ResizeObserver(() => { if (this.atEnd) this.toEnd(); });
    this.observer.observe(this.list);
    this.observer.observe(this.content);
  }

  componentWillUnmount() {
    this.observer.disconnect();
  }

  getSnapshotBeforeUpdate() {
    return { height: this.list.scrollHeight, top: this.list.scrollTop };
  }

  componentDidUpdate({ open: before }, _, was) {
    const { open } = this.props;
    if (this.list.clientHeight === 0) return;
    const older = before.messages[0] !== open.messages[0] && before.messages.at(-1) === open.messages.at(-1) && before.messages.length > 0;
    if (older && !this.atEnd) this.list.scrollTop = was.top + this.list.scrollHeight - was.height;
    else if (this.atEnd) this.toEnd();
    // A thread, or a page of short messages, may not fill the list.
    if (open.previous && this.list.scrollHeight <= this.list.clientHeight) attempt("No older messages", loadOlder);
  }

  toEnd() {
    this.list.scrollTop = this.list.scrollHeight;
    this.scrolled();
  }

  /** Brings a message into the middle. */
  show(id) {
    this.atEnd = false;
    this.list.querySelector(`[data-id="${CSS.escape(id)}"]`)?.scrollIntoView({ block: "center" });
    this.scrolled();
  }

  scrolled = () => {
    const { list, props } = this;
    // Another view is shown.
    if (list.clientHeight === 0) return;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < NEAR;
    if (atEnd !== this.atEnd) {
      this.atEnd = atEnd;
      props.onEnd(atEnd);
    }
    if (list.scrollTop < 400 && props.open.previous) attempt("No older messages", loadOlder);
  };

  render({ open, marked, me, act, thread, onThread }) {
    const messages = thread ? open.messages.filter(({ content }) => content.details?.post?.id === thread) : open.messages;
    const find = (is) => open.messages.find(is);
    return html`
      <div class="messages" ref=${(node) => { this.list = node; }} onScroll=${this.scrolled} role="log" aria-label="Messages" tabindex="0" data-testid="messages"
        data-more=${String(Boolean(open.previous))}>
        <ol ref=${(node) => { this.content = node; }}>
          ${open.previous && html`<li class="older" key="older"><span class="spinner" aria-hidden="true"></span>Older messages</li>`}
          ${rowsOf(messages).map((row) => row.day ? html`<li key=${row.key} class="day"><span>${row.day}</span></li>`
            : row.post ? html`
              <li key=${row.key} class="thread-head" data-testid="thread">
                <${Post} post=${row.post}>
                  <button type="button" class="link-button" onClick=${() => onThread(thread ? null : row.post.id)}>${thread ? "Show the whole chat" : "Only this thread"}</button>
                </${Post}>
              </li>`
              : html`
              <${Message} key=${row.key} message=${row.message} first=${row.first} thread=${row.thread} marked=${marked === row.message.message_ref_id}
                me=${me} act=${{ ...act, find }} known=${Boolean(find(quotedOf(row.message.content)?.is ?? (() => false)))} />`)}
        </ol>
      </div>`;
  }
}

function Head({ chat }) {
  const { client, lead } = chat;
  const about = [client.phone, client.email, chat.conversation_id ?? "has not answered yet"].filter(Boolean).join(" · ");
  return html`
    <header class="chat-head">
      <${IconButton} icon="back" label="Back to the chats" class="back" onClick=${() => go("chats")} />
      <${Avatar} id=${client.user_ref_id} name=${client.name} />
      <div class="chat-title"><h2>${client.name}</h2><p class="muted">${about}</p></div>
      ${lead && html`<span class="badge lead"><${Icon} name="lead" />Lead ${lead.id}</span>`}
      <${IconButton} icon="person" label="Contact and lead" class="side-toggle" onClick=${() => set({ side: "contact" })} />
    </header>`;
}

export function Conversation() {
  const id = useStore((state) => state.chatId);
  const open = useStore((state) => state.open);
  const typing = useStore((state) => Boolean(state.typing[state.open?.id]));
  useStore((state) => state.writer);
  useStore((state) => state.server);
  const [quoted, setQuoted] = useState(null);
  const [marked, setMarked] = useState(null);
  const [thread, setThread] = useState(null);
  const [atEnd, setAtEnd] = useState(true);
  const [dropping, setDropping] = useState(false);
  const messages = useRef();
  const composer = useRef();
  const lastSeen = useRef(null);

  useEffect(() => {
    setQuoted(null);
    setMarked(null);
    setThread(null);
    setAtEnd(true);
    attempt("The chat was not opened", () => openChat(id));
  }, [id]);
  if (atEnd) lastSeen.current = open?.messages.at(-1)?.message_ref_id;
  const at = atEnd ? -1 : open?.messages.findLastIndex((message) => message.message_ref_id === lastSeen.current) ?? -1;
  const fresh = at < 0 ? 0 : open.messages.length - 1 - at;

  if (!id || !open || open.id !== id) return html`<section class="conversation" aria-label="Conversation"><${Welcome} /></section>`;

  const me = writers().user?.user_ref_id;
  const act = {
    quote(message) {
      setQuoted(message);
      composer.current?.focus();
    },
    forward: (message) => openDialog("forward", { message, chat: open.chat }),
    react: (message, emoji) => attempt("No reaction", () => react(message, emoji)),
    async jump(is) {
      setThread(null);
      const found = await reach(is);
      if (!found) {
        notify("The quoted message is not in this chat", "error");
        return;
      }
      setMarked(null);
      requestAnimationFrame(() => {
        setMarked(found.message_ref_id);
        messages.current?.show(found.message_ref_id);
      });
    },
  };
  const files = (event) => [...event.dataTransfer?.files ?? []];
  const carries = (event) => event.dataTransfer?.types.includes("Files");

  return html`
    <section class="conversation" aria-label=${`Conversation with ${open.chat?.client.name ?? "a client"}`} data-testid="conversation" data-dropping=${String(dropping)}
      onDragOver=${(event) => { if (carries(event)) { event.preventDefault(); setDropping(true); } }}
      onDragLeave=${(event) => { if (!event.currentTarget.contains(event.relatedTarget)) setDropping(false); }}
      onDrop=${(event) => { if (carries(event)) { event.preventDefault(); setDropping(false); composer.current?.attach(files(event)); } }}>
      ${open.chat && html`<${Head} chat=${open.chat} />`}
      ${thread && html`
        <p class="thread-bar"><${Icon} name="comment" />Comments under one post
          <button type="button" class="link-button" onClick=${() => setThread(null)}>Show the whole chat</button></p>`}
      <div class="messages-box">
        ${open.loaded && html`
          <${Messages} key=${id} handle=${messages} open=${open} marked=${marked} me=${me} act=${act} thread=${thread} onThread=${setThread} onEnd=${setAtEnd} />`}
        ${!atEnd && html`
          <button type="button" class="to-end" onClick=${() => { messages.current?.toEnd(); }}>
            <${Icon} name="down" />${fresh > 0 ? counted(fresh, "new message") : "Newest"}</button>`}
      </div>
      <p class="typing" role="status" data-testid="typing">${typing ? html`<span class="dots" aria-hidden="true"><i></i><i></i><i></i></span>${open.chat?.client.name ?? "The client"} is typing` : ""}</p>
      <${Composer} key=${`composer ${id}`} id=${id} chat=${open.chat} quoted=${quoted} unquote=${() => setQuoted(null)}
        sent=${() => messages.current?.toEnd()} handle=${composer} />
      ${dropping && html`<p class="drop-hint"><${Icon} name="upload" />Drop to attach</p>`}
    </section>`;
}
