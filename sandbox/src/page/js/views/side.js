// Beside the conversation: the client's phone, where there is one, and what the CRM knows of the client.

import { html } from "../../vendor/preact-htm.js";
import { full } from "../format.js";
import { Icon } from "../icons.js";
import { set, useStore } from "../store.js";
import { Avatar, Fact, IconButton, Segments } from "../ui.js";

function Contact() {
  const chat = useStore((state) => state.open?.chat);
  const server = useStore((state) => state.server);
  if (!chat || !server) {
    return html`<div class="side-body"><p class="muted side-empty">Choose a chat to see its contact and lead.</p></div>`;
  }
  const { client, lead } = chat;
  const account = server.accounts.find(({ account_id: id }) => id === chat.account_id);
  const channel = server.channels.find(({ channel_id: id }) => id === chat.channel_id);
  return html`
    <div class="side-body" data-testid="contact">
      <div class="contact-head">
        <${Avatar} id=${client.user_ref_id} name=${client.name} size="l" />
        <h3>${client.name}</h3>
        ${client.phone && html`<p><${Icon} name="call" />${client.phone}</p>`}
        ${client.email && html`<p><${Icon} name="mail" />${client.email}</p>`}
      </div>
      <section class="card">
        <h4><${Icon} name="lead" />Lead</h4>
        ${lead ? html`<p><b>Incoming lead ${lead.id}</b></p><p class="muted">since ${full(lead.created_at_msec)}</p>`
          : html`<p class="muted">None yet: a client's first message makes one, unless it is imported silently or a manager wrote first.</p>`}
      </section>
      <section class="card">
        <h4><${Icon} name="channel" />Where</h4>
        <p>${channel?.title ?? "Channel"}<span class="muted"> in </span>${account?.name ?? "Account"}</p>
        ${chat.source_external_id && html`<p class="muted">Source ${chat.source_external_id}</p>`}
      </section>
      <dl class="facts">
        <${Fact} name="Conversation id" value=${chat.conversation_id ?? "not known yet"} />
        <${Fact} name="Conversation ref id" value=${chat.conversation_ref_id} />
        <${Fact} name="User id" value=${client.user_id ?? "not known yet"} />
        <${Fact} name="User ref id" value=${client.user_ref_id} />
        ${chat.contact_id && html`<${Fact} name="Contact" value=${String(chat.contact_id)} />`}
      </dl>
    </div>`;
}

export function Side() {
  const companion = useStore((state) => state.server?.companion_url);
  const chosen = useStore((state) => state.side);
  const shown = chosen ?? (companion ? "phone" : "contact");
  return html`
    <aside class="side" aria-label="The client" data-shown=${String(Boolean(chosen))}>
      <header class="pane-head">
        ${companion ? html`<${Segments} label="Show" value=${shown} options=${[["phone", "Phone"], ["contact", "Contact"]]} onChange=${(side) => set({ side })} />` : html`<h2>Contact</h2>`}
        <${IconButton} icon="close" label="Close" class="side-close" onClick=${() => set({ side: null })} />
      </header>
      ${companion && html`
        <div class="phone" hidden=${shown !== "phone"}>
          <iframe data-testid="companion" title="The client's messenger" src=${companion}></iframe>
        </div>`}
      ${shown === "contact" && html`<${Contact} />`}
    </aside>`;
}
