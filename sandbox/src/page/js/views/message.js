// One message of the conversation, with all that it may hold.

import { Component, html, useState } from "../../vendor/preact-htm.js";
import { bytes, clock, fileName, full, iso, KINDS, said, webAddress } from "../format.js";
import { Icon, Ticks } from "../icons.js";
import { Avatar, IconButton, Popover } from "../ui.js";

const EMOJI = ["👍", "❤️", "😂", "😮", "😢", "🙏", "🔥", "👎"];
const elsewhere = { target: "_blank", rel: "noopener noreferrer" };

function Picture({ href, name, sticker }) {
  const [broken, setBroken] = useState(false);
  return html`
    <a class=${`picture${sticker ? " sticker" : ""}${broken ? " broken" : ""}`} href=${href} ...${elsewhere}>
      ${broken ? html`<${Icon} name="alert" /><span>${name} cannot be shown</span>` : html`<img src=${href} alt=${name} loading="lazy" onError=${() => setBroken(true)} />`}
    </a>`;
}

function Attachment({ content }) {
  const { attachment: file, type, details, text } = content;
  const href = file && webAddress(file.url);
  if (!href) return null;
  const name = fileName(file, KINDS[type] ?? "File");
  if (type === "picture" || type === "sticker") return html`<${Picture} href=${href} name=${text || name} sticker=${type === "sticker"} />`;
  if (type === "video") return html`<video class="video" controls preload="metadata" src=${href} aria-label=${name}></video>`;
  if (type === "voice" || type === "audio") {
    const seconds = details?.media_duration;
    return html`
      <span class="audio">
        <audio controls preload="none" src=${href} aria-label=${name}></audio>
        <span class="muted">${type === "voice" ? "Voice message" : name}${seconds ? ` · ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}` : ""}</span>
      </span>`;
  }
  return html`
    <a class="file" href=${href} ...${elsewhere}>
      <span class="file-mark"><${Icon} name="file" /></span>
      <span><span class="file-name">${name}</span><span class="muted">${file.file_size ? bytes(file.file_size) : KINDS[type] ?? type}</span></span>
    </a>`;
}

function Details({ details }) {
  const { location, contact, shared_post: shared } = details ?? {};
  if (location) {
    const at = `${location.lat}, ${location.lon}`;
    const map = `https://www.openstreetmap.org/?mlat=${encodeURIComponent(location.lat)}&mlon=${encodeURIComponent(location.lon)}#map=16/${encodeURIComponent(location.lat)}/${encodeURIComponent(location.lon)}`;
    return html`
      <a class="file" href=${map} data-testid="location" ...${elsewhere}>
        <span class="file-mark place"><${Icon} name="pin" /></span>
        <span><span class="file-name">Location</span><span class="muted">${at}</span></span>
      </a>`;
  }
  if (contact) {
    return html`
      <a class="file" href=${`tel:${contact.phone}`} data-testid="contact-card">
        <span class="file-mark"><${Icon} name="person" /></span>
        <span><span class="file-name">${contact.name}</span><span class="muted">${contact.phone}</span></span>
      </a>`;
  }
  return shared ? html`<${Post} post=${{ ...shared, caption: shared.site_name }} title="Shared post" />` : null;
}

/** A post of a social network: what comments are under, or what a client shared. */
export function Post({ post, title, children }) {
  const href = post.url && webAddress(post.url);
  const preview = webAddress(post.preview_permalink || post.preview_link || post.preview_url || "none:");
  return html`
    <div class="post">
      ${preview && html`<img class="post-picture" src=${preview} alt="" loading="lazy" />`}
      <div class="post-words">
        <span class="post-title"><${Icon} name="comment" />${title ?? (post.username ? `Post of ${post.username}` : "Post")}</span>
        ${post.caption && html`<span class="post-caption">${post.caption}</span>`}
        <span class="post-links">
          ${href && html`<a href=${href} ...${elsewhere}>Open the post</a>`}
          ${children}
        </span>
      </div>
    </div>`;
}

/** A button that a client sees under the message; the manager only sees what it says. */
const Markup = ({ rows }) => html`
  <div class="markup" role="group" aria-label="Buttons of the message">
    ${rows.map((row) => html`<div class="markup-row">${row.map(({ text, url }) => html`
      <span class="markup-button">${url && html`<${Icon} name="link" />`}${text}</span>`)}</div>`)}
  </div>`;

const ListMessage = ({ list }) => html`
  <div class="list-message">
    ${list.header && html`<b>${list.header}</b>`}<p>${list.body}</p>
    <details><summary>${list.button || "Choose"}</summary>
      ${(list.sections ?? []).map((section) => html`<b>${section.title}</b><ul>${(section.rows ?? []).map((row) => html`<li>${row.title}<small>${row.description}</small></li>`)}</ul>`)}
    </details>
    ${list.footer && html`<small>${list.footer}</small>`}
  </div>`;

/** The message that another one quotes, and how to find it. */
export function quotedOf(content) {
  const quoted = content.details?.reply_to?.message;
  return quoted && { quoted, is: (m) => Boolean((quoted.id && m.message_ref_id === quoted.id) || (quoted.msgid && m.message_id === quoted.msgid)) };
}

function Quote({ content, find, jump }) {
  const found = quotedOf(content);
  if (!found) return null;
  const known = find(found.is);
  const text = known ? said(known) : found.quoted.text || KINDS[found.quoted.type] || "An earlier message";
  const name = known?.author.name ?? found.quoted.sender?.name;
  return html`
    <button type="button" class="quote" data-testid="quoted" onClick=${() => jump(found.is)}>
      ${name && html`<b>${name}</b>`}<span dir="auto">${text}</span>
    </button>`;
}

function Forwarded({ details, content }) {
  const [message] = details?.forwards?.messages ?? [];
  if (!message) return null;
  const text = message.text || KINDS[message.type];
  return html`
    <div class="forwarded">
      <span class="forwarded-head"><${Icon} name="forward" />Forwarded${message.sender?.name ? ` from ${message.sender.name}` : ""}</span>
      ${text && text !== content.text && html`<span dir="auto">${text}</span>`}
    </div>`;
}

/** One chip for each emoji; the manager's own is pressed, and a click takes it back. */
function Reactions({ message, me, react }) {
  if (message.reactions.length === 0) return null;
  const byEmoji = new Map();
  for (const { author, emoji } of message.reactions) byEmoji.set(emoji, [...byEmoji.get(emoji) ?? [], author]);
  return html`
    <div class="reactions" role="group" aria-label="Reactions">
      ${[...byEmoji].map(([emoji, authors]) => {
        const own = authors.some((author) => author.user_ref_id === me);
        const names = authors.map((author) => author.name).join(", ");
        return html`
          <button type="button" key=${emoji} class="reaction" data-testid="reaction" aria-pressed=${String(own)} title=${names} disabled=${!emoji}
            aria-label=${`${emoji || "A reaction"} by ${names}`} onClick=${() => react(message, own ? null : emoji)}>
            ${emoji || "•"}${authors.length > 1 && html`<span>${authors.length}</span>`}
          </button>`;
      })}
    </div>`;
}

const Actions = ({ message, quote, react, forward }) => html`
  <div class="actions">
    <${IconButton} icon="forward" label="Forward" class="small" onClick=${() => forward(message)} />
    <${IconButton} icon="reply" label="Quote" class="small" data-testid="quote" onClick=${() => quote(message)} />
    <${Popover} icon="smile" label="React" panelLabel="Choose a reaction" class="react small">
      ${(close) => EMOJI.map((emoji) => html`
        <button type="button" key=${emoji} class="emoji" data-emoji=${emoji} aria-label=${`React with ${emoji}`} onClick=${() => { close(); react(message, emoji); }}>${emoji}</button>`)}
    </${Popover}>
  </div>`;

/** A bubble. Drawn again only when its message, its place or the writer changed. */
export class Message extends Component {
  shouldComponentUpdate(next) {
    return ["message", "first", "marked", "me", "thread", "known"].some((name) => next[name] !== this.props[name]);
  }

  render({ message, first, marked, me, act, thread }) {
    const { author, content, delivery, hook, sent_at_msec: at } = message;
    const incoming = author.party === "client";
    const status = incoming ? "received" : delivery.state;
    const { details } = content;
    const { buttons, list_message: list } = content.markup ?? {};
    return html`
      <li class="message" data-testid="message" data-direction=${incoming ? "in" : "out"} data-status=${status} data-id=${message.message_ref_id}
        data-first=${String(first)} data-marked=${String(marked)} data-thread=${String(thread)}>
        ${incoming && html`<span class="beside">${first && html`<${Avatar} id=${author.user_ref_id} name=${author.name} size="s" />`}</span>`}
        <div class="stack">
          <div class="bubble">
            ${first && !incoming && html`<span class="author">${author.name}${author.party === "bot" && html`<span class="badge">bot</span>`}</span>`}
            <${Forwarded} details=${details} content=${content} />
            <${Quote} content=${content} find=${act.find} jump=${act.jump} />
            <${Attachment} content=${content} />
            <${Details} details=${details} />
            ${content.text && html`<p class="text" dir="auto">${content.text}</p>`}
            ${list && html`<${ListMessage} list=${list} />`}
            <span class="meta">
              ${content.template && html`<span>template</span>`}
              ${message.edited && html`<span class="edited">edited</span>`}
              <time datetime=${iso(at)} title=${full(at)}>${clock(at)}</time>
              ${!incoming && html`<${Ticks} state=${status} />`}
            </span>
            <${Actions} message=${message} quote=${act.quote} react=${act.react} forward=${act.forward} />
          </div>
          ${buttons?.length > 0 && html`<${Markup} rows=${buttons} />`}
          <${Reactions} message=${message} me=${me} react=${act.react} />
          ${delivery.state === "error" && html`<p class="note error"><${Icon} name="alert" />${delivery.text || "Not delivered"} <span class="code">error ${delivery.code}</span></p>`}
          ${hook && !hook.ok && html`<p class="note warning"><${Icon} name="alert" />Webhook: ${hook.sentence}</p>`}
        </div>
      </li>`;
  }
}
