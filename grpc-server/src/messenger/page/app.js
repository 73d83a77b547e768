// The client's phone: shows what the messenger keeps, and sends what the client writes.
// Data goes in as text, never as markup.

const $ = (id) => document.getElementById(id);
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "long" });
const STATUS = { sending: "Sending", sent: "Sent", failed: "Not sent" };
const KINDS = {
  picture: "Picture", file: "File", video: "Video", voice: "Voice message", audio: "Audio", sticker: "Sticker",
};

/** Whose phone; null for the demo's own client. */
const client = new URLSearchParams(location.search).get("client");
/** The phone as the messenger last told it. */
let phone = null;
/** Messages that the messenger did not say yet that it has, by id; `taken` once it answered so. */
const unsaid = new Map();
/** Whether the list is scrolled to its end, and so stays there. */
let atEnd = true;
let typingTimer = 0;
let seenAsked = false;

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") node.textContent = value;
    else if (name === "click") node.addEventListener("click", value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter(Boolean));
  return node;
}

function icon(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

const ICONS = {
  sending: "M8 2.500a5.500 5.500 0 100 11 5.500 5.500 0 000-11M8 5v3.200l2 1.300",
  sent: "M3 8.500l3.500 3.500L13 4.500",
  failed: "M8 2v7.500M8 13v.2",
};

async function post(path, body) {
  const response = await fetch(`/api/${path}`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ client, ...body }),
  });
  if (!response.ok) throw new Error((await response.json()).error);
}

/** Ids stay with their message, so that a second attempt cannot make a second message. */
function newId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function send({ id, text, at_msec }) {
  unsaid.set(id, { id, text, at_msec, kind: "text", direction: "out", status: "sending" });
  atEnd = true;
  draw();
  try {
    await post("messages", { message_id: id, text });
    unsaid.set(id, { ...unsaid.get(id), taken: true });
  } catch (error) {
    const away = error instanceof TypeError;
    unsaid.set(id, { ...unsaid.get(id), status: "failed", error: away ? "the messenger cannot be reached" : error.message });
  }
  draw();
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

function attachment({ kind, media, file_name: fileName, text }) {
  const href = media && webAddress(media);
  if (!href) return null;
  const link = { href, target: "_blank", rel: "noopener noreferrer" };
  const name = fileName || new URL(href).pathname.split("/").pop() || KINDS[kind] || "File";
  if (kind === "picture" || kind === "sticker") {
    const image = el("img", { src: href, alt: text || name });
    const box = el("a", { class: "picture", ...link }, image);
    image.addEventListener("error", () => {
      box.classList.add("broken");
      box.textContent = name;
    });
    return box;
  }
  return el("a", { class: "file", ...link }, icon("M4 1.500h5l3.500 3.500v9.500H4zM9 1.500V5h3.500"),
    el("span", {}, el("b", { text: name }), el("small", { text: KINDS[kind] ?? kind })));
}

const own = (message) => message.direction === "out";

function bubble(message) {
  const { id, status, text, author, error } = message;
  const when = new Date(message.at_msec);
  return el("li", {
    class: "message", "data-testid": "phone-message", "data-direction": message.direction, "data-status": status, "data-id": id,
  },
    el("div", { class: "bubble" },
      !own(message) && author && el("span", { class: "author", text: author }),
      attachment(message),
      text && el("p", { class: "text", dir: "auto", text }),
      el("span", { class: "meta" },
        el("time", { datetime: when.toISOString(), text: CLOCK.format(when) }),
        own(message) && el("span", { class: "mark", role: "img", "aria-label": STATUS[status], title: STATUS[status] }, icon(ICONS[status])))),
    status === "failed" && el("p", { class: "failure", role: "alert" },
      el("span", { text: `Not sent: ${error}. ` }),
      el("button", { type: "button", text: "Try again", click: () => send(message) })));
}

/** Makes the list show `rows`; what did not change is left alone. */
function reconcile(list, rows) {
  const old = new Map([...list.children].map((node) => [node.dataset.key, node]));
  let place = list.firstElementChild;
  for (const { key, state, make } of rows) {
    let node = old.get(key);
    old.delete(key);
    if (!node || node.was !== state) {
      const fresh = make();
      fresh.dataset.key = key;
      fresh.was = state;
      if (node) {
        if (place === node) place = fresh;
        const focused = node.contains(document.activeElement);
        node.replaceWith(fresh);
        if (focused) $("text").focus();
      }
      node = fresh;
    }
    if (node === place) place = place.nextElementSibling;
    else list.insertBefore(node, place);
  }
  for (const node of old.values()) node.remove();
}

function draw() {
  const told = phone?.messages ?? [];
  const known = new Set(told.filter(own).map((message) => message.id));
  for (const { id, taken } of unsaid.values()) if (taken && known.has(id)) unsaid.delete(id);
  // Until the messenger took it again, a message that is tried again is shown as this page knows it.
  const messages = told.map((message) => (own(message) && message.status === "failed" && unsaid.get(message.id)) || message);
  for (const message of unsaid.values()) if (!known.has(message.id)) messages.push(message);

  const rows = [];
  let day = "";
  for (const message of messages) {
    const of = DAY.format(message.at_msec);
    if (of !== day) rows.push({ key: `day ${of}`, state: of, make: () => el("li", { class: "day", text: of }) });
    day = of;
    rows.push({ key: `${message.direction} ${message.id}`, state: JSON.stringify(message), make: () => bubble(message) });
  }
  reconcile($("messages"), rows);
  $("empty").hidden = !phone || messages.length > 0;
  drawTyping();
  if (atEnd) toEnd();
}

function drawTyping() {
  clearTimeout(typingTimer);
  const left = (phone?.typing_until_msec ?? 0) - Date.now();
  $("typing").hidden = left <= 0;
  if (left > 0) typingTimer = setTimeout(() => { drawTyping(); if (atEnd) toEnd(); }, left);
}

function drawHead() {
  $("hello").textContent = `Hello, ${phone.client.name}!`;
  state(phone.online ? "on" : "off", phone.online ? "online" : "waiting for the server…");
  // More clients: those named by ?client=, and those whom a manager wrote first.
  const clients = phone.clients.some(({ key }) => key === phone.client.key) ? phone.clients : [...phone.clients, phone.client];
  $("who").hidden = clients.length < 2;
  $("client").replaceChildren(...clients.map(({ key, name, unread }) =>
    el("option", { value: key, selected: key === phone.client.key, text: unread && key !== phone.client.key ? `${name} (${unread})` : name })));
}

function state(name, said) {
  $("state").dataset.state = name;
  if ($("state").textContent !== said) $("state").textContent = said;
}

function toEnd() {
  $("messages").scrollTop = $("messages").scrollHeight;
}

/** Says that the client has seen the messages. A page that nobody can see gets no animation frame, so this waits until somebody can. */
function seen() {
  if (seenAsked || !phone.clients.some(({ key, unread }) => unread > 0 && key === phone.client.key)) return;
  seenAsked = true;
  requestAnimationFrame(() => {
    seenAsked = false;
    // Said again with the next change if it does not get through.
    post("seen", {}).catch(() => {});
  });
}

function follow() {
  const events = new EventSource(client ? `/api/events?client=${encodeURIComponent(client)}` : "/api/events");
  events.addEventListener("phone", (event) => {
    phone = JSON.parse(event.data);
    drawHead();
    draw();
    seen();
  });
  events.addEventListener("error", () => {
    state("off", "reconnecting…");
    // The browser tries again by itself, except after an answer that is no stream.
    if (events.readyState === EventSource.CLOSED) setTimeout(follow, 2000);
  });
}

/** The box is as high as its text, up to the limit in the style sheet. */
function grow() {
  const box = $("text");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight + 2}px`;
}

function submit() {
  const text = $("text").value.trim();
  if (!text) return;
  $("text").value = "";
  grow();
  send({ id: newId(), text, at_msec: Date.now() });
}

$("composer").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
$("text").addEventListener("input", grow);
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(); }
});
$("messages").addEventListener("scroll", ({ currentTarget: list }) => {
  atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
});
new ResizeObserver(() => atEnd && toEnd()).observe($("messages"));
$("client").addEventListener("change", ({ currentTarget }) => {
  location.search = `?client=${encodeURIComponent(currentTarget.value)}`;
});

follow();
