// The dialogs, one for each thing that needs a few words first.

import { html, useEffect, useState } from "../../vendor/preact-htm.js";
import * as api from "../api.js";
import { said } from "../format.js";
import { writers } from "../inbox.js";
import { go, notify, set, state, useStore } from "../store.js";
import { Avatar, Field, FormDialog } from "../ui.js";

function WriteFirst() {
  const server = useStore((store) => store.server);
  const [accountId, setAccountId] = useState(state.open?.chat?.account_id ?? state.scope.account_id ?? "");
  const account = server.accounts.find(({ account_id: id }) => id === accountId) ?? server.accounts[0];
  const connected = account.connections.map(({ channel_id: id }) => server.channels.find((channel) => channel.channel_id === id)).filter(Boolean);
  const submit = async ({ phone, text, channel_id: channel, user_ref_id: user }) => {
    const sent = await api.post("chats", {
      account_id: account.account_id, channel_id: channel ?? connected[0]?.channel_id ?? server.channels[0].channel_id,
      user_ref_id: user ?? account.users[0]?.user_ref_id, phone: phone.trim(), text,
    });
    go("chats", sent.conversation_ref_id);
  };
  return html`
    <${FormDialog} title="Write first" submit="Send" onSubmit=${submit} lead="The webhook carries the phone. The channel learns the chat's id from it and names its own with the client's answer.">
      ${server.accounts.length > 1 && html`
        <${Field} label="Account"><select value=${account.account_id} onChange=${(event) => setAccountId(event.currentTarget.value)}>
          ${server.accounts.map((one) => html`<option key=${one.account_id} value=${one.account_id}>${one.name}</option>`)}</select></${Field}>`}
      ${connected.length > 1 && html`
        <${Field} label="Channel"><select name="channel_id">${connected.map((one) => html`<option key=${one.channel_id} value=${one.channel_id}>${one.title}</option>`)}</select></${Field}>`}
      ${account.users.length > 1 && html`
        <${Field} label="As"><select name="user_ref_id">${account.users.map((one) => html`<option key=${one.user_ref_id} value=${one.user_ref_id}>${one.name}</option>`)}</select></${Field}>`}
      <${Field} label="Phone"><input name="phone" type="tel" autocomplete="off" required autofocus placeholder="+15550100" /></${Field}>
      <${Field} label="Message"><textarea name="text" rows="3" required></textarea></${Field}>
    </${FormDialog}>`;
}

/** To another chat of the same channel and account, since that is what a channel can do. */
function Forward({ message, chat }) {
  const [chats, setChats] = useState([]);
  const [q, setQ] = useState("");
  useEffect(() => {
    let stale = false;
    api.get("chats", { account_id: chat.account_id, channel_id: chat.channel_id, q: q.trim(), limit: 20 }).then((found) => stale || setChats(found.chats), () => {});
    return () => { stale = true; };
  }, [q]);
  const submit = async ({ to }) => {
    await api.post(`${api.chatPath(to)}/messages`, { forward: message.message_ref_id, user_ref_id: writers().user?.user_ref_id });
    go("chats", to);
  };
  return html`
    <${FormDialog} title="Forward" submit="Forward" onSubmit=${submit} lead=${said(message)}>
      <${Field} label="Find a chat"><input type="search" autocomplete="off" autofocus value=${q} onInput=${(event) => setQ(event.currentTarget.value)} /></${Field}>
      <fieldset class="choices"><legend class="sr">To</legend>
        ${chats.map((one) => html`
          <label key=${one.conversation_ref_id} class="choice"><input type="radio" name="to" required value=${one.conversation_ref_id} />
            <${Avatar} id=${one.client.user_ref_id} name=${one.client.name} size="s" /><span>${one.client.name}</span></label>`)}
      </fieldset>
    </${FormDialog}>`;
}

/** What was filled in, without what was left empty. */
const filled = (fields) => Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, value.trim()]).filter(([, value]) => value));

function NewChannel() {
  const submit = async (fields) => {
    await api.post("channels", filled(fields));
    notify("The channel is registered");
  };
  return html`
    <${FormDialog} title="Register a channel" submit="Register" onSubmit=${submit} lead="What is left empty is made up: the id, the secret and the code.">
      <${Field} label="Name"><input name="title" autocomplete="off" required autofocus placeholder="Support chat" /></${Field}>
      <${Field} label="Webhook address" hint=":scope_id in it becomes the scope of the account."><input name="webhook_url" type="url" autocomplete="off" placeholder="http://127.0.0.1:8080/in/:scope_id" /></${Field}>
      <${Field} label="Secret"><input name="secret" autocomplete="off" placeholder="made up" /></${Field}>
    </${FormDialog}>`;
}

function NewAccount() {
  const submit = async (fields) => {
    await api.post("accounts", filled(fields));
    notify("The account is open");
  };
  return html`
    <${FormDialog} title="Open an account" submit="Open" onSubmit=${submit} lead="An account is a company in the CRM. Channels connect to it one by one.">
      <${Field} label="Name"><input name="name" autocomplete="off" required autofocus placeholder="Flower shop" /></${Field}>
      <${Field} label="Subdomain" hint="The first part of its host's name."><input name="subdomain" autocomplete="off" pattern="[A-Za-z0-9-]+" placeholder="made up" /></${Field}>
    </${FormDialog}>`;
}

function NewUser({ account }) {
  const submit = async ({ name, is_admin: admin }) => {
    await api.post(`accounts/${encodeURIComponent(account.account_id)}/users`, { name: name.trim(), is_admin: admin === "on" });
    notify(`${name} works in ${account.name}`);
  };
  return html`
    <${FormDialog} title=${`Add a user to ${account.name}`} submit="Add" onSubmit=${submit}>
      <${Field} label="Name"><input name="name" autocomplete="off" required autofocus placeholder="Maria" /></${Field}>
      <label class="check"><input type="checkbox" name="is_admin" /> Administrator</label>
    </${FormDialog}>`;
}

function Reset() {
  const submit = async () => {
    await api.post("reset");
    set({ open: null });
    go("chats");
    notify("The sandbox is empty again");
  };
  return html`
    <${FormDialog} title="Empty the sandbox?" submit="Empty it" danger onSubmit=${submit}
      lead="All chats, messages, leads and the journal are forgotten. Channels, accounts and connections stay. Download a snapshot first to come back." />`;
}

const KEYS = [
  ["/", "Search chats"], ["↑ ↓", "Move in a list"], ["Enter", "Open a chat, send an answer"], ["Shift Enter", "A new line"],
  ["Esc", "Leave a quote, a panel, a chat"], ["n", "Write first"], ["1 2 3 4", "Chats, Journal, Channels, Controls"], ["t", "Light, dark or as the system"], ["?", "These keys"],
];

function Keys() {
  return html`
    <${FormDialog} title="Keys" submit="Good" onSubmit=${() => {}}>
      <dl class="keys">${KEYS.map(([keys, what]) => html`<div key=${keys}><dt>${keys.split(" ").map((key) => html`<kbd>${key}</kbd>`)}</dt><dd>${what}</dd></div>`)}</dl>
    </${FormDialog}>`;
}

const DIALOGS = { forward: Forward, "write-first": WriteFirst, channel: NewChannel, account: NewAccount, user: NewUser, reset: Reset, keys: Keys };

export function Dialogs() {
  const dialog = useStore((store) => store.dialog);
  if (!dialog) return null;
  const { name, ...about } = dialog;
  return html`<${DIALOGS[name]} key=${name} ...${about} />`;
}
