// The console: who looks, and where.

import { html, render, useEffect, useState } from "./preact-htm.js";
import * as api from "./api.js";
import { between, read } from "./figures.js";
import { applyTheme, Problem, Theme } from "./ui.js";
import { Dead, Events, Life, Outbox, Overview } from "./views.js";

const EVERY = 2000;
/** So many looks are shown: five minutes. */
const LOOKS = 150;
const AREAS = [["overview", "Overview"], ["events", "Events"], ["dead", "Dead letters"], ["outbox", "Outbox"]];

function Login({ onLogin }) {
  const [error, setError] = useState(null);
  const send = async (event) => {
    event.preventDefault();
    const token = new FormData(event.target).get("token").trim();
    try {
      const session = await api.session(token);
      api.keep(token);
      onLogin(session);
    } catch (failure) {
      setError(failure);
    }
  };
  return html`
    <main class="login"><form class="card" onSubmit=${send}>
      <h1>amochats <span>console</span></h1>
      <label>Token<input type="password" name="token" required autocomplete="off" /></label>
      <${Problem} error=${error} />
      <button class="button">Log in</button>
      <small>A token of the server with the permission read; amochats token new makes one.</small>
    </form></main>`;
}

/** What was measured since the page is open. */
function useHistory() {
  const [history, setHistory] = useState([]);
  const [trouble, setTrouble] = useState(null);
  useEffect(() => {
    let before = null;
    const look = async () => {
      try {
        const now = { all: read(await api.metrics()), at: performance.now() };
        if (before) {
          const figures = between(before, now);
          setHistory((known) => [...known, figures].slice(-LOOKS));
        }
        before = now;
        setTrouble(null);
      } catch (error) {
        setTrouble(error);
      }
    };
    look();
    const timer = setInterval(look, EVERY);
    return () => clearInterval(timer);
  }, []);
  return { history, trouble };
}

const readRoute = () => {
  const [area = "overview", what] = location.hash.slice(2).split("/");
  return { area: area || "overview", what: what && decodeURIComponent(what) };
};

function Console({ session, onLogout }) {
  const [route, setRoute] = useState(readRoute);
  const measured = useHistory();
  useEffect(() => {
    const follow = () => setRoute(readRoute());
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  const admin = session.permissions.includes("admin");
  const { area, what } = route;
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.getElementById("main").focus(); }}>To the content</a>
    <header class="bar"><h1>amochats <span>console</span></h1>
      <p class="muted">${session.name}</p><${Theme} /><button type="button" class="button quiet" onClick=${onLogout}>Log out</button></header>
    <nav aria-label="Areas">${AREAS.map(([key, words]) => html`
      <a href=${`#/${key}`} aria-current=${area === key || (key === "events" && area === "event") ? "page" : undefined}>${words}</a>`)}</nav>
    <main id="main" tabindex="-1">
      ${area === "events" ? html`<${Events} />`
        : area === "event" ? html`<${Life} key=${what} id=${what} admin=${admin} />`
        : area === "dead" ? html`<${Dead} key=${what} name=${what} admin=${admin} />`
        : area === "outbox" ? html`<${Outbox} admin=${admin} />`
        : html`<${Overview} ...${measured} />`}
    </main>`;
}

function App() {
  const [session, setSession] = useState(null);
  const [asking, setAsking] = useState(api.hasToken);
  useEffect(() => {
    if (!asking) return;
    api.session().then(setSession, () => api.forget()).finally(() => setAsking(false));
  }, []);
  if (asking) return html`<main class="login"><p role="status">Connecting…</p></main>`;
  const logout = () => {
    api.forget();
    setSession(null);
  };
  return session ? html`<${Console} session=${session} onLogout=${logout} />` : html`<${Login} onLogin=${setSession} />`;
}

applyTheme();
render(html`<${App} />`, document.getElementById("app"));
