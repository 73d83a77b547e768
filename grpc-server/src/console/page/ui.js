// Small parts that all views use.

import { html, useEffect, useRef, useState } from "./preact-htm.js";

const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const NUMBER = new Intl.NumberFormat();

export const number = (n) => NUMBER.format(n);
export const full = (msec) => (msec === null || msec === undefined ? "–" : FULL.format(msec));

export function age(msec) {
  const s = Math.max(0, Math.round(msec / 1000));
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  return s < 172_800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86_400)} d`;
}

export const seconds = (s) => (s === null ? "–" : s === Infinity ? "> 5 s" : s < 1 ? `≤ ${Number((s * 1000).toPrecision(3))} ms` : `≤ ${s} s`);

const TONES = { connected: "good", settled: "good", sent: "good", dead: "bad", rejected: "bad", unknown: "bad", disabled: "bad", delayed: "warn", resolving: "warn", expired: "warn" };
export const State = ({ name }) => html`<span class="badge" data-tone=${TONES[name] ?? "plain"}>${name.replaceAll("_", " ")}</span>`;

export const Problem = ({ error }) => error && html`<p class="problem" role="alert">${error.message}</p>`;

const THEMES = { system: "As the system", light: "Light", dark: "Dark" };
const chosenTheme = () => (localStorage.getItem("theme") in THEMES ? localStorage.getItem("theme") : "system");

/** Shows the page in the colours that this browser was told. */
export function applyTheme() {
  const theme = chosenTheme();
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

export const Theme = () => html`
  <label class="theme"><span>Colours</span>
    <select value=${chosenTheme()} onChange=${(event) => { localStorage.setItem("theme", event.currentTarget.value); applyTheme(); }}>
      ${Object.entries(THEMES).map(([name, words]) => html`<option value=${name}>${words}</option>`)}
    </select></label>`;

/** A table that scrolls by itself where it does not fit. `rows` are lists of cells. */
export const Table = ({ label, head, rows, empty, testId }) => (rows.length === 0 ? html`<p class="muted">${empty}</p>` : html`
  <div class="scroll" tabindex="0" role="region" aria-label=${label}>
    <table data-testid=${testId}>
      <thead><tr>${head.map((words) => html`<th scope="col">${words}</th>`)}</tr></thead>
      <tbody>${rows.map((cells) => html`<tr>${cells.map((cell) => html`<td>${cell}</td>`)}</tr>`)}</tbody>
    </table>
  </div>`);

/** What `load` answers, anew every `every` milliseconds, and when something it `needs` has changed. */
export function useLoaded(load, needs = [], every = 0) {
  const [state, setState] = useState({});
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let over = false;
    let timer;
    const look = async () => {
      try {
        const value = await load();
        if (!over) setState({ value });
      } catch (error) {
        if (!over) setState(({ value }) => ({ value, error }));
      }
      if (!over && every) timer = setTimeout(look, every);
    };
    look();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [...needs, turn]);
  return { ...state, reload: () => setTurn((n) => n + 1) };
}

/** Asks before something that cannot be undone; `act` may throw, and what it says is shown. */
export function Confirm({ title, children, submit, act, onClose }) {
  const dialog = useRef();
  const [error, setError] = useState(null);
  useEffect(() => { dialog.current.showModal(); }, []);
  const send = async (event) => {
    event.preventDefault();
    try {
      await act();
      onClose();
    } catch (failure) {
      setError(failure);
    }
  };
  return html`
    <dialog ref=${dialog} aria-labelledby="confirm-title" onClose=${onClose}>
      <form onSubmit=${send}>
        <h2 id="confirm-title">${title}</h2>
        <p>${children}</p>
        <${Problem} error=${error} />
        <footer><button type="button" class="button quiet" onClick=${onClose}>Back</button><button class="button">${submit}</button></footer>
      </form>
    </dialog>`;
}

const WIDTH = 600;
const HEIGHT = 120;

/** Lines over time; `lines` are `[name, values]`, null where nothing was measured. */
export function Chart({ title, lines, say }) {
  const all = lines.flatMap(([, values]) => values).filter((value) => Number.isFinite(value));
  const top = Math.max(...all, 0) || 1;
  const path = (values) => values.reduce(({ d, pen }, value, i) => {
    if (!Number.isFinite(value)) return { d, pen: "M" };
    const [x, y] = [(WIDTH * i) / Math.max(1, values.length - 1), HEIGHT - 4 - ((HEIGHT - 8) * value) / top];
    return { d: `${d}${pen}${x.toFixed(1)} ${y.toFixed(1)}`, pen: "L" };
  }, { d: "", pen: "M" }).d;
  const last = lines.map(([name, values]) => `${name} ${say(values.at(-1) ?? null)}`).join(", ");
  return html`
    <figure class="card">
      <figcaption><h3>${title}</h3>
        <ul class="legend">${lines.map(([name, values], i) => html`<li data-line=${i}>${name} <b>${say(values.at(-1) ?? null)}</b></li>`)}</ul>
      </figcaption>
      <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label=${`${title}: ${last}`}>
        ${lines.map(([, values], i) => html`<path data-line=${i} d=${path(values)} />`)}
      </svg>
    </figure>`;
}
