// What the console shows.

import { html, useState } from "./preact-htm.js";
import { get, post } from "./api.js";
import { age, Chart, Confirm, full, number, Problem, seconds, State, Table, useLoaded } from "./ui.js";

const EVERY = 2000;
const eventLink = (id) => html`<a href=${`#/event/${encodeURIComponent(id)}`}><code>${id}</code></a>`;

export function Overview({ history, trouble }) {
  const { value: accounts, error } = useLoaded(() => get("accounts"), [], EVERY);
  const { value: subs, error: subsError } = useLoaded(() => get("subscriptions"), [], EVERY);
  const line = (name) => history.map((one) => one[name]);
  const rate = (value) => (value === null ? "–" : `${value.toFixed(1)}/s`);
  return html`
    <h2>Overview</h2>
    <${Problem} error=${trouble ?? error ?? subsError} />
    <div class="cards">
      <${Chart} title="Webhooks" say=${rate} lines=${[["kept", line("kept")], ["refused", line("refused")]]} />
      <${Chart} title="Time to the answer" say=${seconds} lines=${[["median", line("median")], ["99 of 100", line("p99")]]} />
    </div>
    <section><h3>Subscriptions</h3>
      ${subs && html`<${Table} label="Subscriptions" testId="subscriptions" empty="There are none: nothing takes the events."
        head=${["Name", "Backlog", "Handed out", "Oldest", "Dead letters"]}
        rows=${subs.subscriptions.map((sub) => [sub.name, number(sub.unsettled), number(sub.outstanding),
          sub.oldest_unsettled_at === null ? "–" : age(subs.now - sub.oldest_unsettled_at),
          sub.dead > 0 ? html`<a href=${`#/dead/${encodeURIComponent(sub.name)}`}>${number(sub.dead)}</a>` : "0"])} />`}
    </section>
    <section><h3>Channels and accounts</h3>
      ${accounts?.channels.map((channel) => html`
        <h4>Channel <code>${channel}</code></h4>
        <${Table} label=${`Accounts of ${channel}`} empty="No account is known yet." head=${["Account", "State", "Since", "Last webhook", "Problem"]}
          rows=${accounts.accounts.filter((one) => one.channel_id === channel).map((one) => [
            html`<code>${one.account_id}</code>`, html`<${State} name=${one.state} />`, full(one.since), full(one.heard_at), one.problem ?? "–"])} />`)}
    </section>`;
}

/** Pages of a list; `load` takes the place after which to go on. */
function usePages(load, needs) {
  const [trail, setTrail] = useState([]);
  const loaded = useLoaded(() => load(trail.at(-1)), [...needs, trail.at(-1)]);
  const pages = html`
    <footer class="pages">
      <button type="button" class="button quiet" disabled=${trail.length === 0} onClick=${() => setTrail(trail.slice(0, -1))}>Back</button>
      <button type="button" class="button quiet" disabled=${(loaded.value?.next ?? null) === null} onClick=${() => setTrail([...trail, loaded.value.next])}>Next</button>
    </footer>`;
  return { ...loaded, pages, restart: () => setTrail([]) };
}

const FIELDS = [["event_id", "Event id"], ["message_ref_id", "Message (message_ref_id)"], ["conversation", "Conversation, either id"], ["scope_id", "Scope"]];

export function Events() {
  const [query, setQuery] = useState({});
  const { value, error, pages, restart } = usePages((after) => get("events", { ...query, after }), [query]);
  const search = (event) => {
    event.preventDefault();
    const asked = Object.fromEntries(new FormData(event.target));
    for (const time of ["since", "until"]) if (asked[time]) asked[time] = new Date(asked[time]).getTime();
    restart();
    setQuery(asked);
  };
  return html`
    <h2>Events</h2>
    <form class="search card" role="search" onSubmit=${search}>
      ${FIELDS.map(([name, words]) => html`<label>${words}<input name=${name} autocomplete="off" spellcheck=${false} /></label>`)}
      <label>Received from<input type="datetime-local" name="since" step="1" /></label>
      <label>Received before<input type="datetime-local" name="until" step="1" /></label>
      <button class="button">Search</button>
    </form>
    <${Problem} error=${error} />
    ${value && html`<${Table} label="Events" testId="events" empty="No event fits." head=${["Event", "Kind", "Received", "Conversation", "Message", "Bytes"]}
      rows=${value.events.map((one) => [eventLink(one.event_id), one.kind, full(one.received_at),
        html`<code>${one.conversation_id ?? one.conversation_ref_id ?? "–"}</code>`, html`<code>${one.message_ref_id ?? "–"}</code>`, number(one.size)])} />`}
    ${pages}`;
}

export function Life({ id, admin }) {
  const path = `events/${encodeURIComponent(id)}`;
  const { value, error } = useLoaded(() => get(path), [id], EVERY);
  const [body, setBody] = useState(null);
  const [refused, setRefused] = useState(null);
  const open = () => get(`${path}/body`).then(setBody, setRefused);
  const event = value?.event;
  return html`
    <h2>Event</h2>
    <${Problem} error=${error ?? refused} />
    ${event && html`
      <dl class="facts card">
        ${[["Event id", event.event_id], ["Kind", event.kind], ["Scope", event.scope_id], ["Conversation (ours)", event.conversation_id],
          ["Conversation (amoCRM)", event.conversation_ref_id], ["Message (amoCRM)", event.message_ref_id], ["Bytes", number(event.size)]]
          .map(([name, said]) => html`<div><dt>${name}</dt><dd><code>${said ?? "–"}</code></dd></div>`)}
      </dl>
      <section><h3>Life</h3>
        <ol class="life" data-testid="life">
          <li><b>Received</b> ${full(event.received_at)}, by ${event.origin}</li>
          ${value.deliveries.map((one) => html`
            <li><b>${one.subscription}</b> <${State} name=${one.state} />
              ${one.attempts > 0 && html`<span>handed out ${one.attempts === 1 ? "once" : `${one.attempts} times`}${one.handed_out_at !== null && `, ${one.attempts === 1 ? "at" : "last at"} ${full(one.handed_out_at)}`}</span>`}
              ${one.settled_at !== null && html`<span>${one.state === "dead" ? "given up" : "settled"} at ${full(one.settled_at)}</span>`}
              ${one.until !== null && html`<span>until ${full(one.until)}</span>`}
              ${one.again && html`<span class="muted">replayed or requeued</span>`}
            </li>`)}
        </ol>
      </section>
      ${admin && (body === null
        ? html`<p><button type="button" class="button quiet" onClick=${open}>Open the message</button> <small>It may hold what people wrote, and names and phones. The log notes who opened it.</small></p>`
        : html`<pre class="card" tabindex="0" role="region" aria-label="The event">${JSON.stringify(body, null, 2)}</pre>`)}`}`;
}

export function Dead({ name, admin }) {
  const { value: subs, error: subsError } = useLoaded(() => get("subscriptions"));
  const chosen = name ?? subs?.subscriptions[0]?.name;
  const { value, error, pages, reload } = usePages((after) => (chosen ? get("dead-letters", { subscription: chosen, after }) : { dead_letters: [], next: null }), [chosen]);
  const [asking, setAsking] = useState(null);
  const act = (verb) => async () => {
    await post(`dead-letters/${verb}`, { subscription: chosen, event_ids: [asking.id] });
    reload();
  };
  return html`
    <h2>Dead letters</h2>
    <${Problem} error=${error ?? subsError} />
    <label class="choice">Subscription
      <select value=${chosen} onChange=${(event) => { location.hash = `#/dead/${encodeURIComponent(event.currentTarget.value)}`; }}>
        ${subs?.subscriptions.map((sub) => html`<option value=${sub.name}>${sub.name}</option>`)}
      </select></label>
    ${value && html`<${Table} label="Dead letters" testId="dead" empty="There are none." head=${["Event", "Received", "Attempts", ...admin ? ["Actions"] : []]}
      rows=${value.dead_letters.map(({ event, attempts }) => [eventLink(event.event_id), full(event.received_at), attempts, ...admin ? [html`
        <span class="acts"><button type="button" class="button quiet" onClick=${() => setAsking({ verb: "requeue", id: event.event_id })}>Requeue</button>
        <button type="button" class="button quiet" onClick=${() => setAsking({ verb: "drop", id: event.event_id })}>Drop</button></span>`] : []])} />`}
    ${pages}
    ${asking && html`<${Confirm} title=${asking.verb === "requeue" ? "Requeue this event?" : "Drop this event?"} submit=${asking.verb === "requeue" ? "Requeue it" : "Drop it"}
      act=${act(asking.verb)} onClose=${() => setAsking(null)}>
      ${asking.verb === "requeue" ? "It is handed out again, after what waits." : "The subscription never gets it."}</${Confirm}>`}`;
}

const STATES = ["queued", "sending", "resolving", "sent", "rejected", "unknown", "cancelled", "expired"];

export function Outbox({ admin }) {
  const [state, setState] = useState("queued");
  const { value, error, pages, restart, reload } = usePages((after) => get("outbox", { state, after }), [state]);
  const [asking, setAsking] = useState(null);
  return html`
    <h2>Outbox</h2>
    <${Problem} error=${error} />
    <label class="choice">State
      <select value=${state} onChange=${(event) => { restart(); setState(event.currentTarget.value); }}>
        <option value="">all</option>${STATES.map((name) => html`<option value=${name}>${name}</option>`)}
      </select></label>
    ${value && html`<${Table} label="Outbox" testId="outbox" empty="There are none." head=${["Item", "Call", "State", "Enqueued", "Attempts", "Problem", ...admin ? ["Actions"] : []]}
      rows=${value.items.map((one) => [html`<code>${one.item_id}</code>`, one.call, html`<${State} name=${one.state} />`, full(one.created_at_msec), one.attempts, one.problem ?? "–",
        ...admin ? [one.state === "queued" && html`<button type="button" class="button quiet" onClick=${() => setAsking(one.item_id)}>Cancel</button>`] : []])} />`}
    ${pages}
    ${asking && html`<${Confirm} title="Cancel this call?" submit="Cancel it" onClose=${() => setAsking(null)}
      act=${async () => { await post("outbox/cancel", { item_id: asking }); reload(); }}>It is not sent to amoCRM.</${Confirm}>`}`;
}
