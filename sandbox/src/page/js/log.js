// The journal: its newest entries live, older ones by scrolling, filtered by the sandbox.

import * as api from "./api.js";
import { set, state } from "./store.js";

const PAGE = 100;

const filtered = () => state.journal.filter;
const narrowed = () => Object.values(filtered()).some(Boolean);

let asked = 0;
/** Grows with every entry that was read, which an answer on its way may not know of. */
let followed = 0;

function show(entries, patch = {}) {
  const kinds = [...new Set([...state.journal.kinds, ...entries.map((entry) => entry.kind)])].sort();
  // The line at the bottom shows the last entry of all, whatever the filter is.
  const last = narrowed() ? state.journal.last : entries[0] ?? null;
  set({ journal: { ...state.journal, ...patch, entries, kinds, last, loaded: true } });
}

/** Reads the newest entries, newest first. */
export async function loadJournal() {
  const mine = ++asked;
  const before = followed;
  const { entries, more } = await api.get("journal", { ...filtered(), limit: PAGE });
  if (mine !== asked) return;
  show(entries.reverse(), { more });
  if (followed !== before) followJournal();
}

export async function loadOlderEntries() {
  const { entries, more } = state.journal;
  if (!more || entries.length === 0) return;
  const mine = asked;
  const older = await api.get("journal", { ...filtered(), limit: PAGE, before: entries.at(-1).seq });
  if (mine !== asked) return;
  const known = new Set(state.journal.entries.map((entry) => entry.seq));
  show([...state.journal.entries, ...older.entries.reverse().filter((entry) => !known.has(entry.seq))], { more: older.more });
}

let again = false;
let reading = false;

/** Reads what is new since the newest entry, one question at a time. */
export async function followJournal() {
  again = true;
  if (reading) return;
  reading = true;
  try {
    while (again) {
      again = false;
      const mine = asked;
      const { entries, more } = await api.get("journal", { ...filtered(), after: state.journal.entries[0]?.seq ?? 0, limit: PAGE });
      followed += 1;
      if (mine !== asked) continue;
      // More came than a page holds: the list starts anew, so that it has no gap.
      if (more) await loadJournal();
      else if (entries.length > 0) show([...entries.reverse(), ...state.journal.entries]);
      if (narrowed()) {
        const [last] = (await api.get("journal", { limit: 1 })).entries.slice(-1);
        set({ journal: { ...state.journal, last: last ?? null } });
      }
    }
  } catch {
    // The sandbox is away: the events ask for all when it is back.
  } finally {
    reading = false;
  }
}

export function filter(patch) {
  set({ journal: { ...state.journal, filter: { ...filtered(), ...patch } } });
  return loadJournal();
}

export const entry = (seq) => api.get(`journal/${seq}`);
export const replay = (seq) => api.post(`journal/${seq}/replay`);
