"""What calls answer, as frozen classes like the events."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from .enums import AccountState, AttachmentState, EventKind, EventState, MessageType, Origin
from .events import KeptEvent, Participant, _datetime, _OpenRecord, _Record

__all__ = [
    "Account",
    "Attached",
    "Attachment",
    "Attempt",
    "BackfillProgress",
    "Connected",
    "CreatedChat",
    "DeadLetter",
    "EventDelivery",
    "EventLife",
    "EventSummary",
    "Filter",
    "HistoryContact",
    "HistoryLocation",
    "HistoryMessage",
    "HistoryPage",
    "Ingested",
    "MessageReceipt",
    "Subscription",
    "WidgetAnswer",
]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Connected(_Record):
    """A channel is connected to an account."""

    account_id: str
    """The account inside the chat service."""
    scope_id: str
    """The connection: part of every other call, and of the webhook address."""
    title: str | None = None
    """The channel's name in this account."""
    hook_api_version: str | None = None
    """The form of webhooks."""
    is_time_window_disabled: bool | None = None
    """Whether the channel's time window is off in this account."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MessageReceipt(_Record):
    """The service took a message; it appears a little later."""

    message_ref_id: str | None = None
    """amoCRM's id of the message."""
    message_id: str | None = None
    """The integration's id of the message, as sent."""
    conversation_ref_id: str | None = None
    """amoCRM's id of the chat."""
    sender_ref_id: str | None = None
    """amoCRM's id of the sender."""
    receiver_ref_id: str | None = None
    """amoCRM's id of the receiver; None for a message from a client."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CreatedChat(_Record):
    """A chat and its client, new or as they exist."""

    _PARTS = {"user": Participant}

    conversation_ref_id: str
    """amoCRM's id of the chat."""
    user: Participant
    """The client."""
    extra: dict[str, Any] = field(default_factory=dict, hash=False, repr=False)
    """Fields that are not documented."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class HistoryLocation(_Record):
    """A place in the history."""

    lon: float = field(repr=False)
    """Degrees east."""
    lat: float = field(repr=False)
    """Degrees north."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class HistoryContact(_Record):
    """A contact card in the history."""

    name: str = field(repr=False)
    """The name on the card."""
    phone: str = field(repr=False)
    """The phone on the card."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, match_args=False)
class HistoryMessage(_Record):
    """A message of the history. ``case HistoryMessage(message_ref_id, text)``."""

    __match_args__ = ("message_ref_id", "text")
    _PARTS = {
        "type": MessageType,
        "sender": Participant,
        "receiver": Participant,
        "location": HistoryLocation,
        "contact": HistoryContact,
    }

    message_id: str | None = None
    """The message, by the integration's id."""
    message_ref_id: str | None = None
    """The message, by amoCRM's id."""
    timestamp: int | None = None
    """When it was written, in Unix seconds."""
    msec_timestamp: int | None = None
    """When it was written, in Unix milliseconds."""
    sender: Participant | None = None
    """Who wrote it."""
    receiver: Participant | None = None
    """To whom; a message from a client has none."""
    type: MessageType
    """One of the nine types, or a type of the future."""
    text: str = field(repr=False)
    """The text; a caption where there is media."""
    media: str | None = field(default=None, repr=False)
    """Where the attachment can be fetched; the link may expire."""
    thumbnail: str | None = field(default=None, repr=False)
    """Where a small form of a picture or video can be fetched."""
    file_name: str | None = field(default=None, repr=False)
    """The attachment's file name."""
    file_size: int | None = None
    """The attachment's size in bytes."""
    media_group_id: str | None = None
    """Shared by the attachments that were sent together."""
    location: HistoryLocation | None = None
    """The place, of the type ``location``."""
    contact: HistoryContact | None = None
    """The card, of the type ``contact``."""
    extra: Any = field(default=None, hash=False, repr=False)
    """What is not documented, in its place."""

    @property
    def sent_at(self) -> datetime | None:
        """When it was written, in UTC; None where that is unknown or outside the years 1 to 9999."""
        return _datetime(self.timestamp, self.msec_timestamp)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class HistoryPage(_Record):
    """A page of the history, the newest message first."""

    _PARTS = {"messages": HistoryMessage}

    messages: tuple[HistoryMessage, ...] = ()
    """None where there is no such chat or nothing more in it."""
    extra: dict[str, Any] = field(default_factory=dict, hash=False, repr=False)
    """Fields that are not documented."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Ingested(_Record):
    """What became of a genuine webhook."""

    outcome: str
    """``kept``, ``duplicate``, or ``live`` for typing, which was handed out and is not kept."""
    event_id: str | None = None
    """The event that is kept."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Filter(_Record):
    """Which events a subscription gets: of each field that is not empty, one value must fit."""

    _PARTS: ClassVar[Mapping[str, Any]] = {"kinds": EventKind}

    kinds: tuple[EventKind | str, ...] = ()
    """``message``, ``typing``, ``reaction``, ``unknown``; ``outbox`` comes only where it is here."""
    accounts: tuple[str, ...] = ()
    """Accounts inside the chat service."""
    scopes: tuple[str, ...] = ()
    """Connections of a channel and an account."""
    conversations: tuple[str, ...] = ()
    """Conversations, by either id."""

    @classmethod
    def _read(cls, data: dict[str, Any], **values: Any) -> "Filter":
        tuples = {name: tuple(value) for name, value in data.items()}
        tuples["kinds"] = tuple(EventKind(kind) for kind in tuples.get("kinds", ()))
        return cls(**tuples)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Subscription(_Record):
    """A subscription and its state."""

    _PARTS = {"filter": Filter}

    name: str
    """Its name."""
    created_at_msec: int
    """When it was made, in Unix milliseconds."""
    filter: Filter
    """Which events it gets."""
    unsettled: int
    """Open events. One that the filter leaves out counts until its turn has come."""
    dead: int
    """Events that were given up."""
    oldest_unsettled_at_msec: int | None = None
    """When the oldest open event was received, in Unix milliseconds."""

    @property
    def created_at(self) -> datetime | None:
        """When it was made, in UTC."""
        return _datetime(None, self.created_at_msec)

    @property
    def oldest_unsettled_at(self) -> datetime | None:
        """When the oldest open event was received, in UTC."""
        return _datetime(None, self.oldest_unsettled_at_msec)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, match_args=False)
class DeadLetter(_Record):
    """An event that a subscription gave up. ``case DeadLetter(event)``."""

    __match_args__ = ("event",)

    place: int
    """Where it stands in the subscription: what ``requeue`` and ``drop`` name it by."""
    attempts: int
    """How often it was handed out."""
    event: KeptEvent
    """The event. Its ``raw`` is empty if it was dropped for room."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class BackfillProgress(_Record):
    """How far a backfill is."""

    running: bool
    """Whether it is at work."""
    pending: int
    """Conversations that are still to be read."""
    read: int
    """Conversations that were read since the channel was opened."""
    failed: int
    """Conversations that the service did not let us read."""
    appended: int
    """Events that were kept because no webhook had brought them."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Account(_OpenRecord):
    """What is known of an account of a channel."""

    _PARTS = {"state": AccountState}

    scope_id: str
    """The channel and the account."""
    state: AccountState
    """How it stands."""
    since_msec: int
    """Since when, in Unix milliseconds."""
    checked_at_msec: int | None = None
    """When the service was last asked to connect or disconnect it, in Unix milliseconds."""
    problem: str | None = None
    """Why it then refused: the name of an error."""
    title: str | None = None
    """The channel's name in this account."""
    hook_version: str | None = None
    """The form of webhooks: ``v1`` or ``v2``."""
    heard_at_msec: int | None = None
    """When its last webhook came, in Unix milliseconds; of this process only."""

    @property
    def since(self) -> datetime | None:
        """Since when, in UTC."""
        return _datetime(None, self.since_msec)

    @property
    def heard_at(self) -> datetime | None:
        """When its last webhook came, in UTC; of this process only."""
        return _datetime(None, self.heard_at_msec)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EventSummary(_OpenRecord):
    """An event that is kept, without its body."""

    _PARTS = {"kind": EventKind, "origin": Origin}

    event_id: str
    """Unique in this store and among stores."""
    channel_id: str
    """The channel it came for."""
    account_id: str
    """The account inside the chat service."""
    scope_id: str
    """The connection of both."""
    kind: EventKind
    """What it tells of."""
    received_at_msec: int
    """When it was received, in Unix milliseconds."""
    origin: Origin
    """How it came here."""
    conflicting_duplicate: bool
    """Whether its message id came before, with other content."""
    size: int
    """Of the body, in bytes; 0 where it was dropped for room."""
    conversation_ref_id: str | None = None
    """The conversation, by amoCRM's id."""
    conversation_id: str | None = None
    """The conversation, by the integration's id."""
    message_ref_id: str | None = None
    """The message, by amoCRM's id."""

    @property
    def received_at(self) -> datetime | None:
        """When it was received, in UTC."""
        return _datetime(None, self.received_at_msec)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EventDelivery(_OpenRecord):
    """Where an event is in a subscription."""

    _PARTS = {"state": EventState}

    subscription: str
    """The subscription's name."""
    state: EventState
    """Where it is there."""
    attempts: int
    """How often it was handed out; 0 where the subscription never had it, or settled it in an older version."""
    again: bool
    """Whether it was replayed or requeued."""
    place: int | None = None
    """Its place, while it is open or dead."""
    handed_out_at_msec: int | None = None
    """When it was handed out, the last time, in Unix milliseconds."""
    settled_at_msec: int | None = None
    """When it was acknowledged, or given up, in Unix milliseconds."""
    until_msec: int | None = None
    """When its lease or its delay ends, in Unix milliseconds."""

    @property
    def handed_out_at(self) -> datetime | None:
        """When it was handed out, the last time, in UTC."""
        return _datetime(None, self.handed_out_at_msec)

    @property
    def settled_at(self) -> datetime | None:
        """When it was acknowledged, or given up, in UTC."""
        return _datetime(None, self.settled_at_msec)

    @property
    def until(self) -> datetime | None:
        """When its lease or its delay ends, in UTC."""
        return _datetime(None, self.until_msec)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, match_args=False)
class EventLife(_Record):
    """An event that is kept, and what became of it. ``case EventLife(event, deliveries)``."""

    __match_args__ = ("event", "deliveries")

    summary: EventSummary
    """What is said of it in lists."""
    event: KeptEvent
    """The event."""
    deliveries: tuple[EventDelivery, ...]
    """Where it is in each lasting subscription, by name."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Attached(_Record):
    """A file that was attached."""

    url: str = field(repr=False)
    """Its address, to be sent as the media of a message. Who knows it can read the file."""
    size: int
    """In bytes."""
    content_type: str
    """Its media type."""
    expires_at_msec: int
    """Until when the address works, in Unix milliseconds."""

    @property
    def expires_at(self) -> datetime | None:
        """Until when the address works, in UTC."""
        return _datetime(None, self.expires_at_msec)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Attachment(_OpenRecord):
    """What a message came with."""

    _PARTS = {"state": AttachmentState}

    event_id: str
    """The message's event."""
    state: AttachmentState
    """How far its fetching is."""
    url: str = field(repr=False)
    """Where the message says it is."""
    attempts: int
    """How often it was tried."""
    next_at_msec: int
    """When it is tried next, in Unix milliseconds."""
    size: int
    """In bytes; 0 before it is fetched."""
    file_name: str | None = field(default=None, repr=False)
    """The name that the message gave it."""
    content_type: str | None = None
    """Its media type, as the server it was fetched from has it."""
    problem: str | None = None
    """Why the last attempt failed."""
    path: str | None = None
    """Where it is on disk, once it is fetched; deleted with its event."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Attempt(_OpenRecord):
    """Somebody wants to connect an account.

    The CRM has vouched for the account and its user, and nobody yet for login and password.
    """

    login: str = field(repr=False)
    """The login in the operator's own service."""
    password: str = field(repr=False)
    """The password that belongs to it."""
    client_id: str
    """The integration."""
    crm_account_id: int
    """The account's number in the CRM."""
    crm_user_id: int
    """The number of the CRM's user."""
    origin: str
    """The account's address, such as ``https://example.amocrm.ru``."""
    account_id: str
    """The account inside the chat service, as the page says; the CRM's word on it is asked later."""
    peer: str
    """The address of whoever asks."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class WidgetAnswer(_Record):
    """What the widget is to be answered."""

    status: int
    """The HTTP status."""
    headers: tuple[tuple[str, str], ...]
    """The headers, with names in lower case."""
    body: bytes = field(repr=False)
    """The body."""
