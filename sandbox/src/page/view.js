// Turns what the API says into elements. Data goes in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") node.textContent = value;
    else if (name === "on") for (const [type, run] of Object.entries(value)) node.addEventListener(type, run);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter(Boolean));
  return node;
}

function svg(viewBox, ...paths) {
  const node = document.createElementNS(SVG, "svg");
  node.setAttribute("viewBox", viewBox);
  node.setAttribute("aria-hidden", "true");
  for (const d of paths) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    node.append(path);
  }
  return node;
}

/** Makes `parent` hold one element per item, in order, and rebuilds only those that changed. */
export function reconcile(parent, items, key, make) {
  const old = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const id = String(key(item));
    const state = JSON.stringify(item);
    let node = old.get(id);
    old.delete(id);
    if (!node || node.was !== state) {
      const fresh = make(item);
      fresh.dataset.key = id;
      fresh.was = state;
      if (node) {
        const focused = node.contains(document.activeElement);
        if (place === node) place = fresh;
        node.replaceWith(fresh);
        if (focused) (fresh.querySelector("button, a") ?? fresh).focus();
      }
      node = fresh;
    }
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
  for (const node of old.values()) node.remove();
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const EXACT = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "long" });

export function initials(name) {
  const letters = name.split(/\s+/).map((word) => word.match(/\p{L}/u)?.[0] ?? "").join("");
  return [...letters].slice(0, 2).join("").toUpperCase() || "#";
}

export function paintAvatar(node, client) {
  let hue = 0;
  for (const c of client.user_ref_id) hue = (hue * 31 + c.codePointAt(0)) % 6;
  node.textContent = initials(client.name);
  node.dataset.tone = hue;
}

const KINDS = {
  picture: "Picture", file: "File", video: "Video", voice: "Voice message", audio: "Audio",
  sticker: "Sticker", location: "Location", contact: "Contact",
};

function preview(message) {
  const { author } = message;
  return author.party === "client" ? said(message) : `${author.name}: ${said(message)}`;
}

export function chatItem(open) {
  return ({ chat, current, typing }) => {
    const { last_message: last, client, unread, lead } = chat;
    const avatar = el("span", { class: "avatar", "aria-hidden": "true" });
    paintAvatar(avatar, client);
    const time = last && el("time", { datetime: new Date(last.sent_at_msec).toISOString(), text: CLOCK.format(last.sent_at_msec) });
    return el("li", {},
      el("button", {
        type: "button", class: "chat-item", "data-testid": "chat-item", "data-chat": chat.conversation_ref_id,
        "data-unread": unread, "aria-current": current ? "true" : undefined, on: { click: () => open(chat.conversation_ref_id) },
      },
        avatar,
        el("span", { class: "who" }, el("span", { class: "name", text: client.name }), time),
        el("span", { class: "what" },
          el("span", { class: typing ? "preview types" : "preview", text: typing ? "typing" : last ? preview(last) : "" }),
          unread > 0 && el("span", { class: "count", text: unread, "aria-label": `${unread} unread` })),
        lead && el("span", { class: "badge", text: "Incoming lead" }),
      ));
  };
}

const DELIVERY = { sent: "Sent", delivered: "Delivered", read: "Read", error: "Not delivered" };

function ticks(state) {
  const mark = el("span", { class: "ticks", role: "img", "aria-label": DELIVERY[state], title: DELIVERY[state] });
  if (state === "error") mark.append(svg("0 0 16 12", "M8 2v5M8 9.600v.1"));
  else if (state === "sent") mark.append(svg("0 0 16 12", "M4 6.500l3 3 6-7"));
  else mark.append(svg("0 0 16 12", "M1 6.500l3 3 6-7", "M6.500 8.500l1 1 6-7"));
  return mark;
}

/** Only the web's addresses become links. */
function webAddress(text) {
  try {
    const url = new URL(text);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}

function attachment(content) {
  const { attachment: file, type } = content;
  const href = file && webAddress(file.url);
  if (!href) return null;
  const link = { href, target: "_blank", rel: "noopener noreferrer" };
  const name = file.file_name || decodeURIComponent(new URL(href).pathname.split("/").pop() || "") || KINDS[type] || "File";
  if (type === "picture" || type === "sticker") {
    const image = el("img", { src: href, alt: content.text || name, loading: "lazy" });
    const box = el("a", { class: "picture", ...link }, image);
    image.addEventListener("error", () => {
      box.classList.add("broken");
      box.textContent = name;
    });
    return box;
  }
  const size = file.file_size ? bytes(file.file_size) : KINDS[type] ?? type;
  return el("a", { class: "file", ...link },
    svg("0 0 24 24", "M7 3h7l5 5v13H7z", "M14 3v5h5"),
    el("span", {}, el("span", { class: "file-name", text: name }), el("span", { class: "muted", text: size })));
}

function details(content) {
  const { location, contact, post } = content.details ?? {};
  if (location) return el("p", { class: "detail", text: `Location ${location.lat}, ${location.lon}` });
  if (contact) return el("p", { class: "detail", text: `${contact.name}, ${contact.phone}` });
  if (post) return el("p", { class: "detail", text: `Comment under the post ${post.id}` });
  return null;
}

export function said(message) {
  return message.content.text || KINDS[message.content.type] || message.content.type;
}

function quote(content, all) {
  const quoted = content.details?.reply_to?.message;
  if (!quoted) return null;
  const known = all.find((m) => (quoted.id && m.message_ref_id === quoted.id) || (quoted.msgid && m.message_id === quoted.msgid));
  const text = known ? said(known) : quoted.text ?? "A quoted message";
  return el("blockquote", { text, dir: "auto" });
}

export function messageRows(messages) {
  let day = "";
  const rows = [];
  for (const message of messages) {
    const of = DAY.format(message.sent_at_msec);
    if (of !== day) rows.push({ key: `day ${of}`, day: of });
    day = of;
    rows.push({ key: message.message_ref_id, message });
  }
  return rows;
}

const EMOJI = ["👍", "❤️", "😂", "😮", "😢", "🔥"];

/** What a manager can do with a message: `act` has `quote(message)` and `react(message, emoji)`. */
function actions(message, act) {
  const picker = el("details", { class: "picker" },
    el("summary", { class: "act", "aria-label": "React", title: "React", "data-testid": "react" },
      svg("0 0 24 24", "M12 3.500a8.500 8.500 0 100 17 8.500 8.500 0 000-17z", "M8.500 14c.8 1.300 2 2 3.500 2s2.700-.7 3.500-2", "M9 9.700v.1M15 9.700v.1")),
    el("div", { class: "emoji", role: "group", "aria-label": "Reactions" }, ...EMOJI.map((emoji) => el("button", {
      type: "button", text: emoji, "data-emoji": emoji,
      on: { click: () => { picker.open = false; act.react(message, emoji); } },
    }))));
  picker.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && picker.open) { picker.open = false; picker.firstElementChild.focus(); }
  });
  picker.addEventListener("focusout", (event) => { if (!picker.contains(event.relatedTarget)) picker.open = false; });
  return el("div", { class: "actions" },
    el("button", {
      type: "button", class: "act", "aria-label": "Quote", title: "Quote", "data-testid": "quote",
      on: { click: () => act.quote(message) },
    }, svg("0 0 24 24", "M10 7l-5 5 5 5", "M5 12h9a5 5 0 015 5v1")),
    picker);
}

/** One chip for each emoji; the manager's own is pressed, and a click takes it back. */
function reactions(message, act) {
  if (message.reactions.length === 0) return null;
  const byEmoji = new Map();
  for (const { author, emoji } of message.reactions) byEmoji.set(emoji, [...byEmoji.get(emoji) ?? [], author]);
  return el("div", { class: "reactions", role: "group", "aria-label": "Reactions" }, ...[...byEmoji].map(([emoji, authors]) => {
    const own = authors.some((author) => author.party === "manager");
    const names = authors.map((author) => author.name).join(", ");
    return el("button", {
      type: "button", class: "reaction", "data-testid": "reaction", "aria-pressed": String(own), title: names,
      "aria-label": `${emoji || "A reaction"} by ${names}`, disabled: !emoji,
      on: { click: () => act.react(message, own ? null : emoji) },
    }, emoji || "•", authors.length > 1 && el("span", { text: authors.length }));
  }));
}

export function messageItem(all, act) {
  return ({ day, message }) => {
    if (day) return el("li", { class: "day", text: day });
    const { author, content, delivery, hook } = message;
    const incoming = author.party === "client";
    const status = incoming ? "received" : delivery.state;
    const when = new Date(message.sent_at_msec);
    return el("li", {
      class: "message", "data-testid": "message", "data-direction": incoming ? "in" : "out", "data-status": status,
      "data-id": message.message_ref_id,
    },
      el("div", { class: "bubble" },
        !incoming && el("span", { class: "author", text: author.party === "bot" ? `${author.name} (bot)` : author.name }),
        quote(content, all),
        attachment(content),
        details(content),
        content.text && el("p", { class: "text", dir: "auto", text: content.text }),
        el("span", { class: "meta" },
          message.edited && el("span", { class: "edited", text: "edited" }),
          el("time", { datetime: when.toISOString(), title: when.toLocaleString(), text: CLOCK.format(when) }),
          !incoming && ticks(status)),
        act && actions(message, act)),
      act && reactions(message, act),
      delivery.state === "error" && el("p", { class: "note error", text: `${delivery.text || "Not delivered"} (${delivery.code})` }),
      hook && !hook.ok && el("p", { class: "note warning", text: `Webhook: ${hook.sentence}` }));
  };
}

/** A journal row; `load` fetches the whole entry when it is first opened. */
export function journalItem(load) {
  return (entry) => {
    const panel = el("div", { class: "entry", hidden: true, id: `entry-${entry.seq}` });
    const webhook = entry.direction === "webhook";
    const row = el("button", {
      type: "button", class: "journal-row", "aria-expanded": "false", "aria-controls": panel.id,
      on: {
        click: async () => {
          const open = row.getAttribute("aria-expanded") !== "true";
          row.setAttribute("aria-expanded", open);
          panel.hidden = !open;
          if (open && !panel.hasChildNodes()) panel.append(...await load(entry));
        },
      },
    },
      el("span", { class: `arrow ${entry.direction}`, role: "img", "aria-label": webhook ? "Webhook" : "Request" }),
      el("span", { class: "journal-line" },
        el("span", { class: "kind", text: entry.kind === "unknown" ? entry.method : entry.kind.replaceAll("_", " ") }),
        el("span", { class: "duration", text: `${entry.duration_ms} ms` }),
        el("span", { class: "status", "data-class": entry.status ? Math.floor(entry.status / 100) : 0, text: entry.status ?? "—" })),
      el("span", { class: "journal-line" },
        el("span", { class: "when", text: EXACT.format(entry.at_msec) }),
        el("span", { class: `verdict ${entry.verdict.ok ? "good" : "bad"}`, text: entry.verdict.name.replaceAll("_", " ") })));
    return el("li", {
      class: "journal-item", "data-testid": "journal-item", "data-direction": entry.direction, "data-kind": entry.kind,
      "data-status": entry.status ?? "", "data-verdict": entry.verdict.name,
    }, row, panel);
  };
}

export function entryPanel(entry) {
  const parts = [
    el("p", { class: `sentence ${entry.verdict.ok ? "good" : "bad"}`, text: entry.verdict.sentence }),
    el("p", { class: "line" }, el("b", { text: entry.method }), ` ${entry.target}`),
    el("h3", { text: "Headers" }),
    el("dl", { class: "headers" }, ...entry.headers.flatMap(([name, value]) => [el("dt", { text: name }), el("dd", { text: value })])),
    ...body("Body", entry.body),
    ...body("Answer", entry.answer),
  ];
  return parts.filter(Boolean);
}

function body(title, { text, bytes: length, truncated }) {
  if (length === 0) return [];
  let shown = text;
  try {
    shown = JSON.stringify(JSON.parse(text), null, 2);
  } catch { /* Shown as it is. */ }
  const ends = !truncated && text.endsWith("\n") ? ", ends with a line feed" : "";
  return [
    el("h3", {}, title, el("small", { text: ` ${bytes(length)}${ends}${truncated ? ", cut" : ""}` })),
    el("pre", { tabindex: "0", "aria-label": title, text: shown }),
  ];
}

function bytes(n) {
  if (n < 1024) return `${n} B`;
  return n < 1024 * 1024 ? `${(n / 1024).toFixed(1)} KB` : `${(n / 1024 / 1024).toFixed(1)} MB`;
}

export function accountChip(account) {
  const { connection } = account;
  const said = connection ? `${connection.title} · hooks ${connection.hook_version}` : "Not connected";
  return el("li", { class: "account", "data-connected": String(Boolean(connection)), title: account.account_id, text: said });
}

export function fact(name, value, copy) {
  return [
    el("dt", { text: name }),
    el("dd", {}, el("code", { text: value }),
      el("button", { type: "button", class: "copy", "aria-label": `Copy ${name}`, text: "Copy", on: { click: (event) => copy(event.currentTarget, value) } })),
  ];
}

export function snippet({ api, channel, accounts }) {
  return `SECRET=${channel.secret}
TARGET=/v2/origin/custom/${channel.channel_id}/connect
BODY='{"account_id":"${accounts[0].account_id}","hook_api_version":"v2"}'
DATE=$(LC_ALL=C date -u '+%a, %d %b %Y %T +0000')
MD5=$(printf %s "$BODY" | md5sum | cut -d' ' -f1)
SIGNATURE=$(printf 'POST\\n%s\\napplication/json\\n%s\\n%s' "$MD5" "$DATE" "$TARGET" |
  openssl dgst -sha1 -hmac "$SECRET" | sed 's/.* //')
curl "${api}$TARGET" -d "$BODY" \\
  -H "Date: $DATE" -H 'Content-Type: application/json' \\
  -H "Content-MD5: $MD5" -H "X-Signature: $SIGNATURE"`;
}
