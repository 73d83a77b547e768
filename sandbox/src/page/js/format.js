// How things are said: times, sizes, names, what a message says in one line.

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const EXACT = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const DATE = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const YEAR = new Intl.DateTimeFormat(undefined, { day: "2-digit", month: "2-digit", year: "2-digit" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const NUMBER = new Intl.NumberFormat();

export const clock = (msec) => CLOCK.format(msec);
export const exact = (msec) => EXACT.format(msec);
export const full = (msec) => FULL.format(msec);
export const iso = (msec) => new Date(msec).toISOString();
export const number = (n) => NUMBER.format(n);
export const dayKey = (msec) => new Date(msec).toDateString();

const today = () => new Date().toDateString();
const yesterday = () => new Date(Date.now() - 86_400_000).toDateString();

/** The day of a message between two lines. */
export function day(msec) {
  const of = dayKey(msec);
  if (of === today()) return "Today";
  if (of === yesterday()) return "Yesterday";
  return new Date(msec).getFullYear() === new Date().getFullYear() ? DAY.format(msec) : `${DAY.format(msec)} ${new Date(msec).getFullYear()}`;
}

/** The time of a chat in the list. */
export function when(msec) {
  if (dayKey(msec) === today()) return CLOCK.format(msec);
  return new Date(msec).getFullYear() === new Date().getFullYear() ? DATE.format(msec) : YEAR.format(msec);
}

export function bytes(n) {
  if (n < 1024) return `${n} B`;
  return n < 1024 * 1024 ? `${(n / 1024).toFixed(1)} KB` : `${(n / 1024 / 1024).toFixed(1)} MB`;
}

export const counted = (n, one, many = `${one}s`) => `${number(n)} ${n === 1 ? one : many}`;

export function initials(name) {
  const letters = name.split(/\s+/).map((word) => word.match(/\p{L}/u)?.[0] ?? "");
  return letters.join("").slice(0, 2).toUpperCase() || "#";
}

/** One of six tones, always the same for the same id. */
export function tone(id) {
  let hash = 0;
  for (const c of id) hash = (hash * 31 + c.codePointAt(0)) % 6;
  return hash;
}

export const KINDS = {
  picture: "Picture", file: "File", video: "Video", voice: "Voice message", audio: "Audio",
  sticker: "Sticker", location: "Location", contact: "Contact",
};

/** A message in one line. */
export function said({ content }) {
  return content.text || content.attachment?.file_name || KINDS[content.type] || content.type || "Message";
}

/** Only the web's addresses become links. */
export function webAddress(text) {
  try {
    const url = new URL(text);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}

export function fileName({ file_name: name, url }, otherwise) {
  if (name) return name;
  try {
    return decodeURIComponent(new URL(url).pathname.split("/").pop()) || otherwise;
  } catch {
    return otherwise;
  }
}

/** Which kind of message a file makes. */
export function kindOf(name, mime = "") {
  const ending = name.split(/[?#]/)[0].split(".").pop().toLowerCase();
  if (/^(png|jpe?g|gif|webp|avif|svg)$/.test(ending) || mime.startsWith("image/")) return "picture";
  if (/^(mp4|webm|mov|m4v)$/.test(ending) || mime.startsWith("video/")) return "video";
  if (/^(ogg|oga|opus)$/.test(ending)) return "voice";
  if (/^(mp3|wav|m4a|aac|flac)$/.test(ending) || mime.startsWith("audio/")) return "audio";
  return "file";
}

/** JSON with indents; anything else as it is. */
export function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** A word for the shell. */
export const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`);
