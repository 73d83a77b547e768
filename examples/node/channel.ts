// A client's message to the CRM and the manager's answers out of it, in TypeScript with
// @grpc/grpc-js and generated types.
//
//   $ npm ci --no-audit --no-fund
//   $ npm run --silent build
//   $ node build/channel.js "$ACCOUNT_ID" "Is my order ready?"
//
// AMOCHATS_SERVER is host:port of the server.

import { randomUUID } from "node:crypto";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as grpc from "@grpc/grpc-js";
import * as loader from "@grpc/proto-loader";
import type { Ack } from "./types/amochats/v1/Ack";
import type { ConnectResponse__Output } from "./types/amochats/v1/ConnectResponse";
import type { Delivery__Output } from "./types/amochats/v1/Delivery";
import type { EnqueueResponse__Output } from "./types/amochats/v1/EnqueueResponse";
import type { ListAccountsResponse__Output } from "./types/amochats/v1/ListAccountsResponse";
import type { StreamEventsResponse__Output } from "./types/amochats/v1/StreamEventsResponse";
import type { ProtoGrpcType as ChannelTypes } from "./types/channel";
import type { BadRequest__Output } from "./types/google/rpc/BadRequest";
import type { ErrorInfo__Output } from "./types/google/rpc/ErrorInfo";
import type { RetryInfo__Output } from "./types/google/rpc/RetryInfo";
import type { Status__Output } from "./types/google/rpc/Status";
import type { ProtoGrpcType as InboxTypes } from "./types/inbox";
import type { ProtoGrpcType as OutboxTypes } from "./types/outbox";

// From build/, where this program is.
const folders = [path.join(__dirname, "../../../proto"), path.join(__dirname, "..")];
const files = ["channel", "inbox", "outbox"].map((name) => `amochats/v1/${name}.proto`);
const definition = loader.loadSync([...files, "error_details.proto"], {
  includeDirs: folders,
  longs: String,
  enums: String,
  oneofs: true,
});
const loaded: unknown = grpc.loadPackageDefinition(definition);
const { v1 } = (loaded as ChannelTypes & InboxTypes & OutboxTypes).amochats;

/** What an error carries beside its code: ErrorInfo always, the others where they fit. */
interface Details {
  ErrorInfo?: ErrorInfo__Output;
  BadRequest?: BadRequest__Output;
  RetryInfo?: RetryInfo__Output;
}

function details(error: grpc.ServiceError): Details {
  const decode = (name: string, bytes: Buffer) =>
    (definition[name] as loader.MessageTypeDefinition<object, object>).deserialize(bytes);
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  if (!bytes) return {};
  const status = decode("google.rpc.Status", bytes as Buffer) as Status__Output;
  const found: Record<string, object> = {};
  for (const { type_url, value } of (status.details ?? []) as { type_url: string; value: Buffer }[]) {
    const name = type_url.slice(type_url.lastIndexOf("/") + 1);
    if (name in definition) found[name.replace("google.rpc.", "")] = decode(name, value);
  }
  return found;
}

function explain(error: grpc.ServiceError): string {
  const { ErrorInfo, BadRequest } = details(error);
  // The status and the words of the chats API, where it was asked. They may quote what was sent.
  const words = Object.entries(ErrorInfo?.metadata ?? {}).sort().map(([name, value]) => `  ${name}: ${value}`);
  const fields = (BadRequest?.fieldViolations ?? []).map(({ field, description }) => `  ${field}: ${description}`);
  return [`${grpc.status[error.code]} ${ErrorInfo?.reason}: ${error.details}`, ...words, ...fields].join("\n");
}

/** Delays that grow, drawn at random so that clients do not come back all at once. */
class Backoff {
  private longest = 100;

  constructor(private readonly stopped: AbortSignal) {}

  reset(): void {
    this.longest = 100;
  }

  /** Waits where the same call may succeed later, for as long as the server asks for if it does. */
  async wait(error: grpc.ServiceError): Promise<void> {
    if (error.code !== grpc.status.UNAVAILABLE && error.code !== grpc.status.RESOURCE_EXHAUSTED) throw error;
    const asked = details(error).RetryInfo?.retryDelay;
    const delay = asked
      ? Number(asked.seconds ?? 0) * 1000 + (asked.nanos ?? 0) / 1e6
      : Math.random() * this.longest;
    this.longest = Math.min(this.longest * 2, 10_000);
    console.error(`${grpc.status[error.code]}, again in ${(delay / 1000).toFixed(1)} s`);
    await sleep(delay, undefined, { signal: this.stopped }).catch(() => undefined);
  }
}

class Client {
  private readonly channels;
  private readonly inbox;
  private readonly outbox;
  private readonly scope;
  private readonly backoff;

  constructor(address: string, accountId: string, private readonly stopped: AbortSignal) {
    const credentials = grpc.credentials.createInsecure();
    const options = {
      "grpc.keepalive_time_ms": 30_000, // A dead connection is noticed, and made anew
      "grpc.max_reconnect_backoff_ms": 5_000, // within seconds.
    };
    this.channels = new v1.ChannelService(address, credentials, options);
    this.inbox = new v1.InboxService(address, credentials, options);
    this.outbox = new v1.OutboxService(address, credentials, options);
    this.scope = { accountId };
    this.backoff = new Backoff(stopped);
  }

  close(): void {
    for (const client of [this.channels, this.inbox, this.outbox]) client.close();
  }

  /** A call that may be repeated, as each one here. */
  private async call<T>(make: (options: grpc.CallOptions, done: grpc.requestCallback<T>) => void): Promise<T> {
    for (;;) {
      try {
        return await new Promise<T>((resolve, reject) =>
          make({ deadline: Date.now() + 30_000 }, (error, answer) => (error ? reject(error) : resolve(answer!))),
        );
      } catch (error) {
        if (this.stopped.aborted) throw error;
        await this.backoff.wait(error as grpc.ServiceError);
      }
    }
  }

  /** Connects the channel to the account, unless it is. */
  async connectAccount(): Promise<void> {
    const { scope } = this;
    const { accounts } = await this.call<ListAccountsResponse__Output>((options, done) =>
      this.channels.listAccounts({}, options, done),
    );
    const known = accounts?.find(({ accountId }) => accountId === scope.accountId);
    if (known?.state === "ACCOUNT_STATE_CONNECTED") {
      console.log("connected", known.scopeId);
      return;
    }
    const connected = await this.call<ConnectResponse__Output>((options, done) =>
      this.channels.connect({ scope, title: "Shop" }, options, done),
    );
    console.log("connected", connected.scopeId);
  }

  /** Gives a client's message to the outbox, which sends it, if need be later and again. */
  async send(text: string): Promise<void> {
    const message = {
      messageId: randomUUID(),
      conversationId: "c-1",
      sender: { userId: "u-1", name: "Anna" },
      content: { text: { text } },
    };
    await this.call<EnqueueResponse__Output>((options, done) =>
      this.outbox.enqueue({ scope: this.scope, message }, options, done),
    );
    console.log("sent", message.messageId);
  }

  /** Hands on the managers' answers until it is stopped, whatever becomes of the connection. */
  async receive(): Promise<void> {
    while (!this.stopped.aborted) {
      try {
        await this.stream();
      } catch (error) {
        if (!this.stopped.aborted) await this.backoff.wait(error as grpc.ServiceError);
      }
    }
  }

  private async stream(): Promise<void> {
    const stream = this.inbox.streamEvents();
    // Ends the requests: what was acknowledged is still confirmed.
    const end = () => stream.end();
    this.stopped.addEventListener("abort", end);
    try {
      stream.write({ subscribe: { subscription: "crm", create: { oldest: true } } });
      for await (const response of stream as AsyncIterable<StreamEventsResponse__Output>) {
        if (response.subscribed) {
          this.backoff.reset();
          console.log("subscribed", response.subscribed.subscription);
        }
        for (const delivery of response.deliveries ?? []) {
          const ack = this.handle(delivery);
          if (ack && !this.stopped.aborted) stream.write({ ack });
        }
        for (const { ok, reason, ackId } of response.settled ?? []) {
          console.log(ok ? "settled" : `not settled (${reason})`, ackId);
        }
      }
    } finally {
      this.stopped.removeEventListener("abort", end);
    }
  }

  /** Hands on an event, and gives what acknowledges it. */
  private handle({ ackId, event }: Delivery__Output): Ack | undefined {
    if (!ackId) return undefined; // Typing: it needs no settlement.
    if (!event?.message) return { ackId };
    const { conversationId, messageRefId, text } = event.message;
    // Here it goes to the client's messenger. Only then it is acknowledged.
    console.log("message", ackId, conversationId, messageRefId, text);
    return messageRefId ? { ackId, deliveryStatus: { state: "DELIVERY_STATE_DELIVERED" } } : { ackId };
  }
}

async function main(): Promise<void> {
  const [accountId, text] = process.argv.slice(2);
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stop.abort());
  const client = new Client(process.env.AMOCHATS_SERVER ?? "127.0.0.1:50051", accountId, stop.signal);
  try {
    await client.connectAccount();
    await client.send(text);
    await client.receive();
  } catch (error) {
    console.error(explain(error as grpc.ServiceError));
    process.exitCode = 1;
  } finally {
    client.close();
  }
}

void main();
