// Where no chat is open: what to do next, with commands that work as they are.

import { html } from "../../vendor/preact-htm.js";
import { connectCommand, sendCommand } from "../commands.js";
import { Icon } from "../icons.js";
import { go, useStore } from "../store.js";
import { Command, Empty } from "../ui.js";

function Step({ done, title, children }) {
  return html`
    <li class="step" data-done=${String(done)}>
      <span class="step-mark" aria-hidden="true">${done ? html`<${Icon} name="check" />` : ""}</span>
      <div><h4>${title}${done && html`<span class="sr"> (done)</span>`}</h4>${!done && children}</div>
    </li>`;
}

export function Welcome() {
  const server = useStore((state) => state.server);
  const { loaded, total } = useStore((state) => state.chats);
  const query = useStore((state) => state.search);
  if (!server || !loaded) return null;
  if (total > 0 || query) {
    return html`<${Empty} icon="chats" title="Choose a chat"><p class="muted">You answer as a manager. Press <kbd>?</kbd> for the keys.</p></${Empty}>`;
  }
  const [channel] = server.channels;
  const [account] = server.accounts;
  const connected = account.connections.length > 0;
  return html`
    <div class="welcome" data-testid="welcome">
      <span class="empty-mark"><${Icon} name="chats" /></span>
      <h3>${connected ? "Ready for the first message" : "A channel in three steps"}</h3>
      <p class="muted">${server.companion_url ? "Write in the client's phone beside this, or send a message from a terminal." : "This is an amoCRM of your own. Point your channel at it; every chat appears here."}</p>
      <ol class="steps">
        <${Step} done=${connected} title="Connect the channel to the account">
          <${Command} label="command that connects" text=${connectCommand(server, channel, account)} />
        </${Step}>
        <${Step} done=${Boolean(channel.webhook_url)} title="Say where webhooks go">
          <p class="muted">Set the webhook address of the channel: <button type="button" class="link-button" onClick=${() => go("channels")}>open Channels</button></p>
        </${Step}>
        <${Step} done=${false} title="Send a message as a client">
          <${Command} label="command that sends" text=${sendCommand(server, channel, account)} />
        </${Step}>
      </ol>
    </div>`;
}
