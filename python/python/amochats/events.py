"""What a webhook says, as frozen classes.

:func:`amochats.parse_webhook` returns one of the four classes of :data:`Event`. They are hashable, can
be pickled, and are made for ``match``. Attributes and :meth:`MessageEvent.to_dict` have the names of the
JSON that the other surfaces of amochats show; there ``…_ref_id`` is always the id on the amoCRM side and
``…_id`` the integration's own. The vendor writes ``""`` where it has nothing to say: such a field is
None here, except ``text`` and ``type``. Times are Unix seconds or milliseconds, as the vendor sends them.

``repr`` shows ids and times but no contents and no contacts, so that an event may be logged. Two events
are equal when they say the same, however their bodies were written. What is not understood is kept in
``extra`` as plain JSON values; treat them as read-only, they are shared.
"""

import copy
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar

from . import _amochats
from .enums import ItemState, MessageType, Origin, ReactionType

__all__ = [
    "Button",
    "EmbeddedMessage",
    "Event",
    "Forwards",
    "KeptEvent",
    "ListMessage",
    "ListRow",
    "ListSection",
    "Markup",
    "MessageEvent",
    "OutboxEvent",
    "OutboxItem",
    "Participant",
    "Post",
    "Problem",
    "ReactionEvent",
    "Template",
    "TemplateParam",
    "TypingEvent",
    "UnknownEvent",
]

_R = TypeVar("_R", bound="_Record")

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, match_args=False)
class _Record:
    """A part of an event, read from the stable JSON of the core and written back to it.

    A field without a default is in the JSON always, any other only where it says something.
    """

    _PARTS: ClassVar[Mapping[str, "type[_Record] | type[Enum]"]] = {}
    """The classes of the fields that are records or words, or arrays of them."""

    _OPEN: ClassVar[bool] = False
    """Whether undocumented fields lie beside the known ones in the JSON, not inside ``extra``."""

    def __repr__(self) -> str:
        shown = ((f.name, getattr(self, f.name)) for f in fields(self) if f.repr)
        # A word is shown as text.
        plain = ((name, value.value if isinstance(value, Enum) else value) for name, value in shown)
        said = ", ".join(f"{name}={value!r}" for name, value in plain if value is not None)
        return f"{type(self).__name__}({said})"

    @classmethod
    def _read(cls: type[_R], data: dict[str, Any], **values: Any) -> _R:
        if cls._OPEN:
            known = {f.name for f in fields(cls)} - {"extra"}
            values["extra"] = {name: value for name, value in data.items() if name not in known}
            data = {name: value for name, value in data.items() if name in known}
        for name, value in data.items():
            part = cls._PARTS.get(name)
            values[name] = value if part is None else _read_part(part, value)
        return cls(**values)

    def _write(self) -> dict[str, Any]:
        written: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            optional = f.default is not MISSING or f.default_factory is not MISSING
            if not (optional and value in (None, (), {})):
                written[f.name] = _write_value(value)
        if self._OPEN:
            written |= written.pop("extra", {})
        return written


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, match_args=False)
class _OpenRecord(_Record):
    _OPEN: ClassVar[bool] = True

    extra: dict[str, Any] = field(default_factory=dict, hash=False, repr=False)
    """Fields that are not documented."""


def _read_part(part: type[_Record] | type[Enum], value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_read_part(part, item) for item in value)
    return part._read(value) if issubclass(part, _Record) else part(value)


def _write_value(value: Any) -> Any:
    if isinstance(value, _Record):
        return value._write()
    if isinstance(value, tuple):
        return [_write_value(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return copy.deepcopy(value)


def _shape(cls: type[_Record]) -> _amochats.Shape:
    """By what the native half makes objects of this class, which it does as :meth:`_Record._read`."""
    shaped: list[tuple[str, bool, Any, Any]] = []
    for f in fields(cls):
        part = cls._PARTS.get(f.name)
        default = f.default if f.default_factory is MISSING else f.default_factory
        shape = _shape(part) if part is not None and issubclass(part, _Record) else part
        shaped.append((f.name, default is MISSING, default, shape))
    return _amochats.Shape(cls, shaped, cls._OPEN)


def _datetime(seconds: int | None, milliseconds: int | None) -> datetime | None:
    if milliseconds is None:
        if seconds is None:
            return None
        milliseconds = 1000 * seconds
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Participant(_Record):
    """Somebody in a chat."""

    user_id: str | None = None
    """By the integration's id."""
    user_ref_id: str | None = None
    """By amoCRM's id."""
    name: str | None = field(default=None, repr=False)
    """The name shown."""
    phone: str | None = field(default=None, repr=False)
    """The phone; when a CRM user writes first, the number to write to."""
    email: str | None = field(default=None, repr=False)
    """The e-mail address."""
    avatar: str | None = field(default=None, repr=False)
    """The address of a picture; in answers of the service, webhooks have none so far."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Button(_OpenRecord):
    """A button under a message. A client's press is sent back as a plain text message with its text."""

    text: str = field(repr=False)
    """The label."""
    url: str | None = field(default=None, repr=False)
    """The address it opens; a message holds either plain or address buttons."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ListRow(_OpenRecord):
    """A row of a list message."""

    callback_data: str | None = field(default=None, repr=False)
    """To be sent back as ``callback_data`` when the client chooses this row."""
    title: str | None = field(default=None, repr=False)
    """The row's title."""
    description: str | None = field(default=None, repr=False)
    """The row's description."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ListSection(_OpenRecord):
    """A section of a list message."""

    _PARTS = {"rows": ListRow}

    title: str | None = field(default=None, repr=False)
    """Up to 24 characters."""
    rows: tuple[ListRow, ...] = ()
    """One to ten rows."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ListMessage(_OpenRecord):
    """A WhatsApp list message."""

    _PARTS = {"sections": ListSection}

    header: str | None = field(default=None, repr=False)
    """Up to 60 characters."""
    body: str | None = field(default=None, repr=False)
    """Up to 1024 characters, Markdown."""
    footer: str | None = field(default=None, repr=False)
    """Up to 60 characters, Markdown."""
    button: str | None = field(default=None, repr=False)
    """The label of the main button."""
    sections: tuple[ListSection, ...] = ()
    """One to ten sections."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Markup(_OpenRecord):
    """Rows of buttons, or a list message (official WhatsApp on Kommo)."""

    _PARTS = {"buttons": Button, "list_message": ListMessage}

    mode: str | None = None
    """``inline`` where there are buttons."""
    buttons: tuple[tuple[Button, ...], ...] = ()
    """Rows of buttons."""
    list_message: ListMessage | None = None
    """The list to choose from."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TemplateParam(_OpenRecord):
    """The value of a marker of a template."""

    key: str
    """The marker, such as ``{{lead.id}}``; it need not occur in the content."""
    value: str = field(repr=False)
    """Its value."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Template(_OpenRecord):
    """The chat template a message was made from."""

    _PARTS = {"params": TemplateParam}

    id: int | None = None
    """The template's id in the CRM."""
    external_id: str | None = None
    """The integration's id of the template."""
    content: str | None = field(default=None, repr=False)
    """The text with its markers."""
    params: tuple[TemplateParam, ...] = ()
    """The values of the markers."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Post(_OpenRecord):
    """The post under which a message is a comment."""

    id: str | None = None
    """The integration's id of the post."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EmbeddedMessage(_Record):
    """A message inside another: quoted or forwarded."""

    _PARTS = {"type": MessageType, "sender": Participant, "receiver": Participant}

    message_id: str | None = None
    """By the integration's id."""
    message_ref_id: str | None = None
    """By amoCRM's id."""
    type: MessageType
    """As :attr:`MessageEvent.type`."""
    text: str = field(repr=False)
    """The text or caption."""
    media: str | None = field(default=None, repr=False)
    """Where the attachment can be fetched."""
    thumbnail: str | None = field(default=None, repr=False)
    """Where a small form can be fetched."""
    file_name: str | None = field(default=None, repr=False)
    """The attachment's file name."""
    file_size: int | None = None
    """The attachment's size in bytes."""
    timestamp: int | None = None
    """When it was written, in Unix seconds."""
    msec_timestamp: int | None = None
    """When it was written, in Unix milliseconds."""
    sender: Participant | None = None
    """Who wrote it."""
    receiver: Participant | None = None
    """To whom."""
    extra: dict[str, Any] = field(default_factory=dict, hash=False, repr=False)
    """Fields that are not documented."""

    @property
    def sent_at(self) -> datetime | None:
        """When it was written, in UTC; None where that is unknown or outside the years 1 to 9999."""
        return _datetime(self.timestamp, self.msec_timestamp)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Forwards(_Record):
    """Forwarded messages."""

    _PARTS = {"messages": EmbeddedMessage}

    messages: tuple[EmbeddedMessage, ...]
    """The messages; at present one."""
    conversation_id: str | None = None
    """The chat they come from, by the integration's id."""
    conversation_ref_id: str | None = None
    """The chat they come from, by amoCRM's id."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, match_args=False)
class _Event(_Record):
    """What every event has."""

    kind: ClassVar[Literal["message", "typing", "reaction", "outbox", "unknown"]]
    """What happened: ``message``, ``typing``, ``reaction``, ``outbox`` or ``unknown``."""

    api_version: Literal["v1", "v2"] | None = None
    """The form the webhook came in; None where that is unknown."""
    account_id: str | None = None
    """The account; v1 webhooks do not name it."""
    time: int | None = None
    """When the webhook was made, in Unix seconds."""
    extra: Any = field(default=None, hash=False, repr=False)
    """All that was not understood, in its place in the body; None where nothing is left."""
    raw: bytes = field(default=b"", compare=False, repr=False)
    """The body, exactly as it was given to :func:`amochats.parse_webhook` or received."""
    event_id: str | None = None
    """Unique among stores; None unless a :class:`~amochats.Channel` keeps it, as the following."""
    channel_id: str | None = None
    """The channel it came for."""
    scope_id: str | None = None
    """The connection of channel and account."""
    received_at_msec: int | None = None
    """When it was received, in Unix milliseconds."""
    origin: Origin | None = None
    """How it came here."""
    conflicting_duplicate: bool = field(default=False, repr=False)
    """The account's message id was seen before, with other content."""
    possible_duplicate: bool = field(default=False, repr=False)
    """Backfill made it for an account whose webhooks name no message (v1): one may have told of it."""

    @property
    def received_at(self) -> datetime | None:
        """When it was received, in UTC."""
        return _datetime(None, self.received_at_msec)

    def to_dict(self) -> dict[str, Any]:
        """Returns the event as the JSON value that all surfaces of amochats show, without ``raw``."""
        written = {"kind": self.kind, **self._write()}
        written.pop("raw", None)
        for name in ("conflicting_duplicate", "possible_duplicate"):
            if not written[name]:
                del written[name]
        return written


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, match_args=False)
class MessageEvent(_Event):
    """A CRM user, a bot or a template answered. ``case MessageEvent(conversation_id, text)``."""

    __match_args__ = ("conversation_id", "text")
    _PARTS = {
        "origin": Origin,
        "type": MessageType,
        "sender": Participant,
        "receiver": Participant,
        "markup": Markup,
        "template": Template,
        "reply_to": EmbeddedMessage,
        "forwards": Forwards,
        "post": Post,
    }

    kind: ClassVar[Literal["message"]] = "message"

    conversation_id: str | None = None
    """The chat, by the integration's id; None when a CRM user writes first."""
    conversation_ref_id: str | None = None
    """The chat, by amoCRM's id; v1 does not name it."""
    message_id: str | None = None
    """The message, by the integration's id; seldom there."""
    message_ref_id: str | None = None
    """The message, by amoCRM's id: what delivery status is reported for. v1 does not name it."""
    timestamp: int | None = None
    """When it was written, in Unix seconds."""
    msec_timestamp: int | None = None
    """When it was written, in Unix milliseconds."""
    sender: Participant | None = None
    """The CRM user or bot who wrote; v1 does not say."""
    receiver: Participant | None = None
    """The client."""
    source_external_id: str | None = None
    """The integration's source that the chat belongs to."""
    type: MessageType
    """``text``, ``file``, ``video``, ``picture``, ``voice``, ``audio``, ``sticker``, or a new one."""
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
    """Shared by the webhooks that were made from one message with several attachments."""
    tag: str | None = field(default=None, repr=False)
    """Always empty for integrations outside the vendor, hence None."""
    markup: Markup | None = None
    """Buttons or a list to choose from."""
    template: Template | None = None
    """The template it was made from."""
    reply_to: EmbeddedMessage | None = None
    """The message it answers."""
    forwards: Forwards | None = None
    """The messages it forwards."""
    post: Post | None = None
    """The post under which it is a comment."""

    @property
    def sent_at(self) -> datetime | None:
        """When it was written, in UTC; None where that is unknown or outside the years 1 to 9999."""
        return _datetime(self.timestamp, self.msec_timestamp)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, match_args=False)
class TypingEvent(_Event):
    """A CRM user is typing; sent at most every 5 s. ``case TypingEvent(conversation_id)``."""

    __match_args__ = ("conversation_id",)
    _PARTS = {"origin": Origin}

    kind: ClassVar[Literal["typing"]] = "typing"

    conversation_id: str | None = None
    """The chat, by the integration's id."""
    conversation_ref_id: str | None = None
    """The chat, by amoCRM's id."""
    user_ref_id: str | None = None
    """Who types, by amoCRM's id."""
    expired_at: int | None = None
    """When to stop showing it, in Unix seconds."""
    post_id: str | None = None
    """The integration's id of the post that is being answered."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, match_args=False)
class ReactionEvent(_Event):
    """A CRM user reacted to a message, or took the reaction back.

    ``case ReactionEvent(message_ref_id, emoji)``; a reaction that is taken back has no emoji.
    """

    __match_args__ = ("message_ref_id", "emoji")
    _PARTS = {"origin": Origin, "type": ReactionType}

    kind: ClassVar[Literal["reaction"]] = "reaction"

    conversation_id: str | None = None
    """The chat, by the integration's id."""
    conversation_ref_id: str | None = None
    """The chat, by amoCRM's id."""
    user_ref_id: str | None = None
    """Who reacts, by amoCRM's id."""
    message_id: str | None = None
    """The message, by the integration's id."""
    message_ref_id: str | None = None
    """The message, by amoCRM's id."""
    type: ReactionType
    """``react``, ``unreact``, or a word of the future."""
    emoji: str | None = field(default=None, repr=False)
    """The emoji; None when a reaction is taken back."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, match_args=False)
class UnknownEvent(_Event):
    """A shape that is not documented. ``case UnknownEvent(raw)``; the JSON value is in ``extra``."""

    __match_args__ = ("raw",)
    _PARTS = {"origin": Origin}

    kind: ClassVar[Literal["unknown"]] = "unknown"


Event: TypeAlias = MessageEvent | TypingEvent | ReactionEvent | UnknownEvent
"""What :func:`amochats.parse_webhook` returns."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Problem(_Record):
    """Why an item of the outbox was not sent, or not yet."""

    kind: str
    """The name of the error, as :attr:`amochats.AmochatsError.code`."""
    message: str
    """A sentence, without anything private."""
    http_status: int | None = None
    """The HTTP status of the service's answer."""
    vendor: dict[str, Any] | None = field(default=None, hash=False, repr=False)
    """The service's words: ``code``, ``type``, ``description``. They may quote what was sent."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class OutboxItem(_Record):
    """A call that the outbox makes."""

    _PARTS = {"state": ItemState, "problem": Problem}

    item_id: str
    """Unique among stores."""
    scope_id: str
    """The connection it goes over."""
    key: str | None = None
    """The key that the caller gave."""
    call: str
    """The call's name, such as ``send_message``."""
    state: ItemState
    """Where it is."""
    attempts: int = 0
    """How many times it went out."""
    conversation_id: str | None = None
    """The chat, by the integration's id."""
    conversation_ref_id: str | None = None
    """The chat, by amoCRM's id."""
    message_id: str | None = None
    """The message, by the integration's id."""
    message_ref_id: str | None = None
    """The message, by amoCRM's id: known once it is sent."""
    created_at_msec: int
    """When it was enqueued, in Unix milliseconds."""
    expires_at_msec: int
    """When it is not sent any more, in Unix milliseconds."""
    ended_at_msec: int | None = None
    """When it came to its end, in Unix milliseconds."""
    problem: Problem | None = None
    """Why it was not sent; while it is queued, why not the last time."""

    @property
    def created_at(self) -> datetime | None:
        """When it was enqueued, in UTC."""
        return _datetime(None, self.created_at_msec)

    @property
    def expires_at(self) -> datetime | None:
        """When it is not sent any more, in UTC."""
        return _datetime(None, self.expires_at_msec)

    @property
    def ended_at(self) -> datetime | None:
        """When it came to its end, in UTC; None before."""
        return _datetime(None, self.ended_at_msec)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, match_args=False)
class OutboxEvent(_Event):
    """A call of ours came to its end. ``case OutboxEvent(item)``.

    A subscription gets these where its ``kinds`` ask for ``outbox``.
    """

    __match_args__ = ("item",)
    _PARTS = {"origin": Origin, "item": OutboxItem}

    kind: ClassVar[Literal["outbox"]] = "outbox"

    item: OutboxItem
    """The item, with the state it ended in."""


KeptEvent: TypeAlias = Event | OutboxEvent
"""What a :class:`~amochats.Channel` keeps."""

_KINDS: Mapping[str, type[Event]] = {
    event.kind: event for event in (MessageEvent, TypingEvent, ReactionEvent, UnknownEvent)
}
_KEPT: Mapping[str, type[KeptEvent]] = {**_KINDS, "outbox": OutboxEvent}


def _shapes(classes: Mapping[str, type[_Event]]) -> dict[str, _amochats.Shape]:
    """By what the native half makes events; of the class that a kind has among `classes`."""
    return {kind: _shape(cls) for kind, cls in classes.items()}


_PARSED = _shapes(_KINDS)


def _kept_from_json(stable_json: dict[str, Any], raw: bytes) -> Any:
    """An event of a channel."""
    cls = _KEPT[stable_json.pop("kind")]
    # A body that is not JSON is there as text, too.
    stable_json.pop("raw", None)
    return cls._read(stable_json, raw=raw)
