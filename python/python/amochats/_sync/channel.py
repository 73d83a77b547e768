# Generated from _async/channel.py by python/unasync.py: edit that file.
"""The whole channel in the process."""

import json
import os
from base64 import b64decode
from collections.abc import Iterator, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from .._handlers import Handlers, _A, _H, decider
from .._native import PAGE, arguments, configuration, make
from ..answers import (
    Account,
    BackfillProgress,
    Connected,
    DeadLetter,
    EventDelivery,
    EventLife,
    EventSummary,
    Filter,
    Ingested,
    Subscription,
)
from ..enums import EventKind
from ..events import KeptEvent, OutboxItem, _kept_from_json
from ..exceptions import AmochatsError, MisuseError
from ..payloads import NewMessage, _milliseconds
from ._call import call, running_loop
from ._work import work
from .client import Client
from .consumer import BlockingEventStream
from .media import BlockingChannelMedia
from .outbox import BlockingOutbox
from .widget import BlockingChannelWidget


_C = TypeVar("_C", bound="BlockingChannel")


class BlockingChannel:
    """Listener, inbox, outbox, accounts and backfill, all inside this process.

    A webhook is answered 200 when its event is on disk, and handed out until it is settled: in order
    within its conversation, at least once to each subscription, also after a crash.

    ``with`` gives the channel itself.
    At its end what was not settled is given back, and calls and webhooks in flight are finished. Make it
    where it is used: it cannot be used in a process that is forked later.

    Args:
        config: What a file for ``amochats serve`` says: as a dict, as the text of a TOML file, or the
            file itself as a :class:`pathlib.Path`.
        environ: Variables such as ``AMOCHATS_SECRET`` that win over ``config``; pass ``os.environ``
            to do as the server does.

    Raises:
        ConfigError: The configuration cannot be used; ``field`` is the key.
        ForkedError: amochats was in use before this process was forked.
    """

    def __init__(
        self,
        config: "Mapping[str, Any] | str | os.PathLike[str]",
        *,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._native: Any = make("Channel", *configuration(config, environ))
        self._handlers = Handlers()
        self._outbox = BlockingOutbox(self._native)
        self._media = BlockingChannelMedia(self._native)
        self._widget = BlockingChannelWidget(self._native)

    @classmethod
    def _over(cls: type[_C], native: Any, handlers: Handlers) -> _C:
        channel = cls.__new__(cls)
        channel._native = native
        channel._handlers = handlers
        channel._outbox = BlockingOutbox(native)
        channel._media = BlockingChannelMedia(native)
        channel._widget = BlockingChannelWidget(native)
        return channel

    def __enter__(self: _C) -> _C:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def open(self) -> None:
        """Opens the store and begins to listen. Rather use the channel in a ``with``.

        Raises:
            ConfigError: An address cannot be bound.
            StoreLockedError: Another process has the store open.
            StoreError: The store cannot be opened.
            MisuseError: It was opened before.
        """
        call(self._native, "open")
        try:
            self._authorize()
        except AmochatsError:
            self.close()
            raise

    def close(self) -> None:
        """Ends: what is not settled is given back, what is in flight is finished. May be repeated."""
        call(self._native, "close")

    @property
    def listener_url(self) -> str:
        """Where webhooks arrive, without the path."""
        return str(self._native.addresses()[0])

    @property
    def admin_url(self) -> str:
        """Where ``/healthz``, ``/readyz`` and ``/metrics`` are."""
        return str(self._native.addresses()[1])

    def metrics(self) -> str:
        """What is counted, as the text that Prometheus scrapes."""
        return str(call(self._native, "metrics"))

    def reload(
        self,
        config: "Mapping[str, Any] | str | os.PathLike[str]",
        *,
        environ: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Goes on with another configuration: channels, secrets, accounts and limits change under way.

        Returns:
            The keys whose change needs a restart.

        Raises:
            ConfigError: The configuration cannot be used; nothing has changed.
        """
        return list(self._native.reload(*configuration(config, environ)))

    def client(self, channel_id: str | None = None) -> Client:
        """The client that the outbox uses, for direct calls.

        Args:
            channel_id: Which channel's, where several are configured.

        Raises:
            UnknownChannelError: It is not configured.
        """
        return Client._of(self._native.client(channel_id))

    def ingest(
        self,
        body: bytes | bytearray | memoryview,
        signature: str | None,
        scope_id: str,
        *,
        timeout: float | None = None,
    ) -> Ingested:
        """Takes in a webhook that another HTTP server received: verifies it, keeps it, then returns.

        Answer 200 when this has returned, 401 to a :class:`SignatureError`, 404 to an
        :class:`UnknownChannelError`, and 503 to anything else.

        Args:
            body: The raw body, as it came.
            signature: The ``X-Signature`` header; None where there is none.
            scope_id: The last part of the address.
            timeout: Seconds to keep it in; the vendor waits 5 for the answer. None waits for ever.

        Raises:
            SignatureError: The webhook is not genuine.
            RequestTimeoutError: It was not kept in time. It may be kept all the same.
            UnknownChannelError: The scope is of no channel that is configured.
            StoreError: It is not promised to be kept.
        """
        values = {"scope_id": scope_id, "signature": signature}
        return Ingested._read(call(self._native, "ingest", values, body, timeout))

    # Files, and the widget

    @property
    def media(self) -> BlockingChannelMedia:
        """Files that go with messages."""
        return self._media

    @property
    def widget(self) -> BlockingChannelWidget:
        """The widget's calls, for another HTTP server."""
        return self._widget

    def authorizer(self, decide: _A) -> _A:
        """Has a function decide who may connect an account with the widget.

        It is called with an :class:`Attempt` and returns whether that may; it may be a coroutine
        function. It takes the place of what the configuration says, and has 5 s. What it raises is
        logged, and the widget is told to try again. An unknown login and a wrong password are both
        False, and should take the same time.

        Raises:
            ConfigError: The channel is open and ``[widget]`` is not configured; else from :meth:`open`.
        """
        self._handlers.authorizer = decide
        # Before the channel is open: then.
        with suppress(MisuseError):
            self._authorize()
        return decide

    def _authorize(self) -> None:
        decide = self._handlers.authorizer
        if decide is not None:
            self._native.set_authorizer(decider(decide, running_loop()))

    # Events

    def events(
        self,
        subscription: str | None = None,
        *,
        create: bool = False,
        start: Literal["oldest", "now"] | datetime = "oldest",
        filter: Filter | None = None,
        max_outstanding: int = 100,
        max_outstanding_bytes: int | None = None,
        lease: float = 60.0,
    ) -> BlockingEventStream:
        """The events of a subscription, to iterate over and to settle.

        Several streams of one subscription share its events. Events of one conversation come one
        after the other: the next one when the one before is settled.

        Args:
            subscription: Its name. None is one of its own that starts now and leaves no trace.
            create: Makes the subscription where there is none, with ``start`` and ``filter``.
            start: As for :meth:`create_subscription`.
            filter: As for :meth:`create_subscription`.
            max_outstanding: The most events that may be unsettled at a time.
            max_outstanding_bytes: The most bytes of their bodies; of one event it may be more.
            lease: Seconds that an event may stay unsettled before it is handed out again.

        Raises:
            SubscriptionNotFoundError: From the iteration: there is no such subscription.
        """
        values = {
            "name": subscription,
            "max_outstanding": max_outstanding,
            "max_outstanding_bytes": max_outstanding_bytes,
            "lease": lease,
        }
        consumer = self._native.consumer(arguments(values))
        wanted = None
        if create and subscription is not None:
            wanted = _wanted(subscription, start, None, filter)
        return BlockingEventStream(self._native, consumer, wanted, lease)

    def on_message(self, handler: _H) -> _H:
        """Has a function called with every message; see :meth:`run`."""
        return self._handlers.add(EventKind.MESSAGE, handler)

    def on_reaction(self, handler: _H) -> _H:
        """Has a function called with every reaction."""
        return self._handlers.add(EventKind.REACTION, handler)

    def on_typing(self, handler: _H) -> _H:
        """Has a function called when a CRM user is typing."""
        return self._handlers.add(EventKind.TYPING, handler)

    def on_outbox(self, handler: _H) -> _H:
        """Has a function called when a call of the outbox came to its end."""
        return self._handlers.add(EventKind.OUTBOX, handler)

    def on_event(self, handler: _H) -> _H:
        """Has a function called with every event that no other one is for."""
        return self._handlers.add(None, handler)

    def run(
        self,
        subscription: str,
        *,
        create: bool = True,
        start: Literal["oldest", "now"] | datetime = "oldest",
        filter: Filter | None = None,
        concurrency: int = 16,
        lease: float = 60.0,
    ) -> None:
        """Calls the functions that were registered, until the channel is closed or this is cancelled.

        When a function returns its event is acknowledged: with a delivery status, if it returns
        ``"delivered"``, ``"read"`` or a :class:`DeliveryStatus`. When it raises, the event is handed out
        again after a growing delay, and the error is logged. It may settle the event itself. Events of
        one conversation come one after the other; those of others at the same time. While a function
        works, its event's lease is prolonged.

        Args:
            subscription: The subscription's name.
            create: Makes the subscription where there is none, with ``start`` and ``filter``.
            start: As for :meth:`create_subscription`.
            filter: As for :meth:`create_subscription`; without one, the kinds that functions are for.
            concurrency: The most events that are worked on at a time.
            lease: Seconds until the event of a process that died is handed out again.
        """
        if filter is None:
            filter = Filter(kinds=self._handlers.kinds())
        stream = self.events(
            subscription,
            create=create,
            start=start,
            filter=filter,
            max_outstanding=concurrency,
            lease=lease,
        )
        work(stream, self._handlers, concurrency, lease)

    def get_event(self, event_id: str) -> KeptEvent | None:
        """An event that is kept; None where there is none of this id."""
        found = call(self._native, "event", {"event_id": event_id})
        return None if found is None else _kept(found)

    def list_events(
        self, *, scope_id: str | None = None, after: str | None = None
    ) -> Iterator[KeptEvent]:
        """Iterates over the events that are kept, the oldest first.

        Args:
            scope_id: Only of this connection.
            after: Only those after the event of this id.
        """
        while True:
            values = {"scope_id": scope_id, "after": after, "limit": PAGE}
            page = call(self._native, "list_events", values)
            for found in page:
                event = _kept(found)
                after = event.event_id
                yield event
            if len(page) < PAGE:
                return

    def list_summaries(
        self,
        *,
        filter: Filter | None = None,
        newest_first: bool = False,
        message_ref_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: str | None = None,
    ) -> Iterator[EventSummary]:
        """Iterates over the events that are kept, without their bodies.

        Args:
            filter: Those that fit. Other than for a subscription, no kinds are all kinds.
            newest_first: In place of the oldest first.
            message_ref_id: Those of this message: itself, reactions to it, calls about it.
            since: Received at or after this aware time.
            until: Received before this aware time.
            after: Those after the event of this id, in this order.
        """
        values: dict[str, Any] = {
            "filter": None if filter is None else filter._write(),
            "newest_first": newest_first,
            "message_ref_id": message_ref_id,
            "since": None if since is None else _milliseconds(since, "since"),
            "until": None if until is None else _milliseconds(until, "until"),
            "limit": PAGE,
        }
        while True:
            page = call(self._native, "list_summaries", values | {"after": after})
            for found in page:
                after = found["event_id"]
                yield EventSummary._read(found)
            if len(page) < PAGE:
                return

    def event_life(self, event_id: str) -> EventLife:
        """An event that is kept, and where it is in each subscription.

        Raises:
            NotFoundError: There is none of this id, or it is not kept any more.
        """
        found = call(self._native, "life", {"event_id": event_id})
        return EventLife(
            summary=EventSummary._read(found["summary"]),
            event=_kept(found),
            deliveries=tuple(EventDelivery._read(delivery) for delivery in found["deliveries"]),
        )

    def purge(self, scope_id: str, conversation: str) -> int:
        """Deletes the events of a conversation for good, settled or not.

        Args:
            scope_id: The connection.
            conversation: The conversation, by either id.

        Returns:
            How many there were.
        """
        values = {"scope_id": scope_id, "conversation": conversation}
        return int(call(self._native, "purge", values))

    # Subscriptions

    def create_subscription(
        self,
        name: str,
        *,
        start: Literal["oldest", "now"] | datetime = "oldest",
        after: str | None = None,
        filter: Filter | None = None,
    ) -> bool:
        """Makes a subscription, unless there is one of that name.

        Args:
            name: 1 to 64 letters, digits, ``-``, ``_`` and ``.``.
            start: At the oldest event that is kept, after the newest, or with the first one received
                at or after an aware time.
            after: In place of ``start``: after the event of this id.
            filter: Which events it gets; all, but for those of kind ``outbox``, unless given.

        Returns:
            Whether it is new.
        """
        return bool(call(self._native, "create_subscription", _wanted(name, start, after, filter)))

    def list_subscriptions(self) -> list[Subscription]:
        """The subscriptions by name, with their state."""
        return [Subscription._read(state) for state in call(self._native, "subscriptions")]

    def delete_subscription(self, name: str) -> None:
        """Deletes a subscription and all that waits in it.

        Raises:
            SubscriptionNotFoundError: There is none of that name.
        """
        call(self._native, "delete_subscription", {"name": name})

    def replay(
        self,
        subscription: str,
        *,
        start: Literal["oldest", "now"] | datetime = "oldest",
        after: str | None = None,
        scope_id: str | None = None,
    ) -> int:
        """Hands events out again that were kept before: at the end of a subscription, and marked.

        Args:
            subscription: Its name.
            start: From there to the newest, as for :meth:`create_subscription`.
            after: In place of ``start``: after the event of this id.
            scope_id: Only of this connection.

        Returns:
            How many at most, since the subscription's filter goes for them, too.
        """
        values = _wanted(subscription, start, after, None) | {"scope_id": scope_id}
        return int(call(self._native, "replay", values))

    def dead_letters(self, subscription: str) -> Iterator[DeadLetter]:
        """Iterates over what a subscription has given up."""
        place = 0
        while True:
            values = {"name": subscription, "place": place, "limit": PAGE}
            page = call(self._native, "dead_letters", values)
            for found in page:
                place = found["place"]
                yield DeadLetter(place=place, attempts=found["attempts"], event=_kept(found))
            if len(page) < PAGE:
                return

    def requeue(
        self, subscription: str, letters: Iterable[DeadLetter | int] | None = None
    ) -> int:
        """Hands dead letters out again, those given or all: at the end, and marked. Says how many."""
        values = {"name": subscription, "places": _places(letters)}
        return int(call(self._native, "requeue", values))

    def drop_dead_letters(
        self, subscription: str, letters: Iterable[DeadLetter | int] | None = None
    ) -> int:
        """Drops dead letters, those given or all. Says how many."""
        values = {"name": subscription, "places": _places(letters)}
        return int(call(self._native, "drop_dead_letters", values))

    # Sending

    @property
    def outbox(self) -> BlockingOutbox:
        """The calls that are kept, and made when it is possible."""
        return self._outbox

    def send_message(
        self,
        scope_id: str,
        message: NewMessage | Mapping[str, Any] | str | bytes,
        *,
        expires_in: float | None = None,
    ) -> OutboxItem:
        """Keeps a message and sends it in its turn: short for :meth:`BlockingOutbox.enqueue`.

        What becomes of it says ``channel.outbox.wait(item)``, or an event of kind ``outbox``.

        Args:
            scope_id: The connection.
            message: What to send, or the vendor's form of it.
            expires_in: After so many seconds it is not sent any more.
        """
        return self._outbox.enqueue(scope_id, message, expires_in=expires_in)

    # Accounts

    def accounts(self) -> list[Account]:
        """The accounts that are known, by scope."""
        return [Account._read(account) for account in call(self._native, "accounts")]

    def connect(
        self,
        account_id: str,
        *,
        channel_id: str | None = None,
        title: str | None = None,
        hook_version: str = "v2",
        is_time_window_disabled: bool | None = None,
    ) -> Connected:
        """Connects a channel to an account, and notes how it went. See :meth:`Client.connect`."""
        values = {
            "account_id": account_id,
            "channel_id": channel_id,
            "title": title,
            "hook_version": hook_version,
            "is_time_window_disabled": is_time_window_disabled,
        }
        return Connected._read(call(self._native, "connect", values))

    def disconnect(self, account_id: str, *, channel_id: str | None = None) -> None:
        """Disconnects a channel from an account, and notes how it went."""
        values = {"account_id": account_id, "channel_id": channel_id}
        call(self._native, "disconnect", values)

    def forget_account(self, scope_id: str) -> None:
        """Forgets an account; its next webhook makes it known again.

        Raises:
            NotFoundError: It is not known.
        """
        call(self._native, "forget_account", {"scope_id": scope_id})

    # Channels and accounts while everything runs. What is set holds until the process ends, or
    # reload() sets all of them anew.

    def set_channel(self, config: Mapping[str, Any]) -> None:
        """Adds a channel, or replaces the one of the same id with all that belongs to it.

        Args:
            config: What a ``[[channel]]`` of the configuration says.

        Raises:
            ConfigError: It cannot be used; nothing has changed.
        """
        call(self._native, "admin.set_channel", body=json.dumps(dict(config)).encode())

    def remove_channel(self, channel_id: str) -> None:
        """Removes a channel: its webhooks are answered 404, its outbox waits.

        Raises:
            UnknownChannelError: It is not configured.
            ConfigError: It is the only one.
        """
        call(self._native, "admin.remove_channel", {"channel_id": channel_id})

    def rotate_secret(
        self, secret: str, *, until: datetime | None = None, channel_id: str | None = None
    ) -> None:
        """Signs with another secret from now on.

        Args:
            secret: The new one.
            until: The aware time up to which webhooks under the one before are accepted; until the next
                rotation, unless given.
            channel_id: Which channel's, where several are configured.

        Raises:
            UnknownChannelError: It is not configured.
            ConfigError: The secret cannot be one.
        """
        values = {"secret": secret, "channel_id": channel_id}
        if until is not None:
            moment = datetime.fromtimestamp(_milliseconds(until, "until") // 1000, timezone.utc)
            values["until"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        call(self._native, "admin.rotate_secret", values)

    def set_account(
        self,
        account_id: str,
        *,
        channel_id: str | None = None,
        connect: bool = False,
        title: str | None = None,
        hook_version: str | None = None,
        crm_account_id: int | None = None,
    ) -> None:
        """Adds an account to a channel, or replaces what was set of it.

        Args:
            account_id: The account inside the chat service.
            channel_id: Which channel's, where several are configured.
            connect: Connects it, and keeps it connected.
            title: The channel's name in this account.
            hook_version: The form of webhooks: ``v2``, or ``v1``.
            crm_account_id: The account's number in the CRM.

        Raises:
            UnknownChannelError: The channel is not configured.
            ConfigError: A value cannot be used.
        """
        account = {
            "id": account_id,
            "connect": connect,
            "title": title,
            "hook_version": hook_version,
            "crm_account_id": crm_account_id,
        }
        body = json.dumps({name: value for name, value in account.items() if value is not None})
        call(self._native, "admin.set_account", {"channel_id": channel_id}, body.encode())

    def remove_account(self, account_id: str, *, channel_id: str | None = None) -> None:
        """Forgets what was set of an account, which stays connected until :meth:`disconnect`.

        Raises:
            NotFoundError: It was not set.
        """
        values = {"account_id": account_id, "channel_id": channel_id}
        call(self._native, "admin.remove_account", values)

    # Backfill

    def backfill(self) -> BackfillProgress:
        """Begins to read the histories of all known conversations for what no webhook brought."""
        return BackfillProgress._read(call(self._native, "backfill"))

    def backfill_progress(self) -> BackfillProgress:
        """How far it is."""
        return BackfillProgress._read(call(self._native, "backfill_progress"))


def _places(letters: Iterable[DeadLetter | int] | None) -> list[int] | None:
    if letters is None:
        return None
    return [letter.place if isinstance(letter, DeadLetter) else letter for letter in letters]


def _wanted(
    name: str,
    start: Literal["oldest", "now"] | datetime,
    after: str | None,
    filter: Filter | None,
) -> dict[str, Any]:
    wanted: Any = start
    if after is not None:
        wanted = {"after": after}
    elif isinstance(start, datetime):
        wanted = {"since": _milliseconds(start, "start")}
    return {"name": name, "start": wanted, "filter": None if filter is None else filter._write()}


def _kept(found: dict[str, Any]) -> KeptEvent:
    event: KeptEvent = _kept_from_json(found["event"], b64decode(found["raw"]))
    return event
