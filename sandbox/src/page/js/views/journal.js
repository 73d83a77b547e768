// The journal: what went in and out, whether its signature was good, and the bytes themselves.

import { html, useEffect, useRef, useState } from "../../vendor/preact-htm.js";
import { bytes, exact, full, iso, pretty } from "../format.js";
import { Icon } from "../icons.js";
import { entry as read, filter, loadOlderEntries, replay } from "../log.js";
import { attempt, go, notify, useStore } from "../store.js";
import { Copy, Empty, IconButton, Segments } from "../ui.js";

const words = (name) => name.replaceAll("_", " ");
const kindOf = (entry) => (entry.kind === "unknown" ? entry.method : words(entry.kind));

/** What an entry is, in a line: also the last one at the bottom of the window. */
export const Verdict = ({ entry }) => html`
  <span class="verdict" data-ok=${String(entry.verdict.ok)}>${words(String(entry.verdict.name))}</span>`;

export const Arrow = ({ entry }) => html`
  <span class="arrow" data-direction=${entry.direction} role="img" aria-label=${entry.direction === "webhook" ? "Webhook" : "Request"}>
    <${Icon} name=${entry.direction === "webhook" ? "out" : "in"} /></span>`;

export const Status = ({ status }) => html`
  <span class="status" data-class=${status ? Math.floor(status / 100) : 0}>${status ?? "none"}</span>`;

function Row({ entry, current, tabbable }) {
  return html`
    <li>
      <button type="button" class="journal-item" data-testid="journal-item" data-seq=${entry.seq} data-direction=${entry.direction} data-kind=${entry.kind}
        data-status=${entry.status ?? ""} data-verdict=${entry.verdict.name} aria-current=${current ? "true" : undefined} tabindex=${tabbable ? 0 : -1}
        onClick=${() => go("journal", entry.seq)}>
        <${Arrow} entry=${entry} />
        <span class="journal-kind">${kindOf(entry)}</span>
        <${Status} status=${entry.status} />
        <span class="journal-target">${entry.target}</span>
        <${Verdict} entry=${entry} />
        <span class="journal-duration">${entry.duration_ms} ms</span>
        <time datetime=${iso(entry.at_msec)}>${exact(entry.at_msec)}</time>
      </button>
    </li>`;
}

function Body({ title, body }) {
  const [raw, setRaw] = useState(false);
  if (!body || body.bytes === 0) return null;
  const formatted = pretty(body.text);
  const ends = !body.truncated && body.text.endsWith("\n") ? ", ends with a line feed" : "";
  return html`
    <section class="entry-part">
      <header>
        <h3>${title} <small>${bytes(body.bytes)}${ends}${body.truncated ? ", cut" : ""}</small></h3>
        ${formatted !== body.text && html`<${Segments} label=${`${title} as`} value=${raw ? "raw" : "pretty"} options=${[["pretty", "Pretty"], ["raw", "Raw"]]} onChange=${(how) => setRaw(how === "raw")} />`}
        <${Copy} text=${body.text} label=${title} />
      </header>
      <pre tabindex="0" role="region" aria-label=${title} data-testid=${title.toLowerCase()}>${raw ? body.text : formatted}</pre>
    </section>`;
}

/** What a verdict on a request means, for who meets it the first time. */
const EXPLAINED = {
  canonical: "X-Signature is the HMAC-SHA1 of method, Content-MD5, Content-Type, Date and path, each on its own line, keyed with the channel's secret.",
  body_only: "X-Signature is the HMAC-SHA1 of the body alone, as in the first generation of the API. A strict service takes the canonical form only.",
  accepted: "The channel answered the webhook with 200 in time. It is never sent again.",
};

function Entry({ seq }) {
  const [shown, setShown] = useState(null);
  useEffect(() => {
    let stale = false;
    setShown(null);
    read(seq).then((entry) => stale || setShown(entry), (error) => stale || setShown({ gone: error.status === 404 ? "This entry is no longer kept." : error.message }));
    return () => { stale = true; };
  }, [seq]);
  if (!shown) return null;
  if (shown.gone) return html`<${Empty} icon="journal" title="Not there"><p class="muted">${shown.gone}</p></${Empty}>`;
  const entry = shown;
  const webhook = entry.direction === "webhook";
  const again = () => attempt("Not replayed", async () => {
    const { hook } = await replay(entry.seq);
    notify(`Sent again: ${hook.sentence}`, hook.ok ? "info" : "error");
  });
  const explained = EXPLAINED[entry.verdict.name];
  return html`
    <article class="entry" data-testid="entry" aria-label=${`${webhook ? "Webhook" : "Request"} ${entry.seq}`}>
      <header class="entry-head">
        <${IconButton} icon="back" label="Back to the journal" class="back" onClick=${() => go("journal")} />
        <${Arrow} entry=${entry} />
        <div class="entry-title"><h2>${kindOf(entry)}</h2><p class="muted">${full(entry.at_msec)} · ${entry.duration_ms} ms · number ${entry.seq}</p></div>
        <${Status} status=${entry.status} />
        <div class="entry-acts">
          ${entry.curl && html`<${Copy} text=${entry.curl} label="as curl" class="button quiet small">Copy as curl</${Copy}>`}
          ${webhook && html`<button type="button" class="button quiet small" onClick=${again}><${Icon} name="replay" />Replay</button>`}
        </div>
      </header>
      <div class="entry-body">
        <div class="verdict-card" data-ok=${String(entry.verdict.ok)}>
          <${Icon} name=${entry.verdict.ok ? "check" : "alert"} />
          <div><p><b>${entry.verdict.sentence}</b></p>${explained && html`<p>${explained}</p>`}</div>
        </div>
        ${entry.faults?.length > 0 && html`<p class="note error"><${Icon} name="bolt" />A fault struck: ${entry.faults.join(", ")}</p>`}
        <p class="entry-line"><b>${entry.method}</b> <span>${entry.target}</span></p>
        <section class="entry-part">
          <header><h3>Headers</h3></header>
          <dl class="headers">${entry.headers.map(([name, value]) => html`<div data-key=${/^(x-signature|content-md5|date)$/i.test(name)}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
        </section>
        <${Body} title="Body" body=${entry.body} />
        <${Body} title="Answer" body=${entry.answer} />
      </div>
    </article>`;
}

function Filters({ journal }) {
  const { filter: by, kinds } = journal;
  const change = (patch) => attempt("No filter", () => filter(patch));
  const narrowed = Object.values(by).some(Boolean);
  return html`
    <div class="filters" role="group" aria-label="Filter the journal">
      <label class="search"><${Icon} name="search" /><span class="sr">Search the journal</span>
        <input type="search" placeholder="Path, verdict, body" value=${by.q} onInput=${(event) => change({ q: event.currentTarget.value })} /></label>
      <div class="filter-row">
        <${Segments} label="Direction" value=${by.direction} options=${[["", "All"], ["request", "Requests"], ["webhook", "Webhooks"]]} onChange=${(direction) => change({ direction })} />
        <${Segments} label="Verdict" value=${by.ok} options=${[["", "Any"], ["true", "Good"], ["false", "Bad"]]} onChange=${(ok) => change({ ok })} />
        <label><span class="sr">Kind</span>
          <select value=${by.kind} onChange=${(event) => change({ kind: event.currentTarget.value })}>
            <option value="">All kinds</option>${kinds.map((kind) => html`<option key=${kind} value=${kind}>${words(kind)}</option>`)}
          </select></label>
        ${narrowed && html`<button type="button" class="link-button" onClick=${() => change({ kind: "", direction: "", ok: "", q: "" })}>Clear</button>`}
      </div>
    </div>`;
}

export function Journal() {
  const journal = useStore((state) => state.journal);
  const { id } = useStore((state) => state.route);
  const view = useStore((state) => state.route.view);
  const list = useRef();
  const { entries, loaded, more } = journal;
  const seq = view === "journal" && id ? Number(id) : null;
  const current = entries.findIndex((entry) => entry.seq === seq);
  const keys = (event) => {
    const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    const next = step && event.target.closest("li")?.[step]?.querySelector("button");
    if (!next) return;
    event.preventDefault();
    next.focus();
    next.click();
  };
  const scrolled = () => {
    const { scrollHeight, scrollTop, clientHeight } = list.current;
    if (more && scrollHeight - scrollTop - clientHeight < 400) attempt("No older entries", loadOlderEntries);
  };
  const narrowed = Object.values(journal.filter).some(Boolean);
  return html`
    <div class="journal" data-open=${String(seq !== null)}>
      <section class="journal-list" aria-labelledby="journal-title">
        <header class="pane-head"><h2 id="journal-title">Journal</h2><p class="muted legend"><${Icon} name="in" />requests <${Icon} name="out" />webhooks</p></header>
        <${Filters} journal=${journal} />
        <div class="journal-scroll" ref=${list} onScroll=${scrolled} onKeyDown=${keys}>
          ${entries.length > 0 && html`
            <ul role="list" aria-label="Requests and webhooks, the newest first" data-testid="journal">
              ${entries.map((entry, index) => html`<${Row} key=${entry.seq} entry=${entry} current=${entry.seq === seq} tabbable=${index === Math.max(0, current)} />`)}
            </ul>`}
          ${loaded && entries.length === 0 && (narrowed
            ? html`<${Empty} icon="search" title="Nothing like this"><p class="muted">No entry fits the filter.</p></${Empty}>`
            : html`<${Empty} icon="journal" title="Nothing has gone in or out"><p class="muted">Each request and webhook appears here with the verdict on its signature.</p></${Empty}>`)}
        </div>
      </section>
      <section class="journal-entry" aria-label="Entry">
        ${seq === null ? html`<${Empty} icon="journal" title="Choose an entry"><p class="muted">You see its headers, its bytes and which rule it kept or broke.</p></${Empty}>` : html`<${Entry} key=${seq} seq=${seq} />`}
      </section>
    </div>`;
}
