"""What a channel sends, as frozen classes.

Each of them writes the vendor's form with ``to_dict``; the rules are checked by the native half when it
is sent or encoded, with the path of the field. ``repr`` shows ids and times but no contents and no
contacts. Names are as everywhere: ``…_ref_id`` is the id on the amoCRM side, ``…_id`` the
integration's own.

>>> message = NewMessage("c-9", "m-17", Sender("u-5", "Anna"), Text("hello"))
>>> message
NewMessage(conversation_id='c-9', message_id='m-17', sender=Sender(user_id='u-5'), content=Text())
>>> message.to_dict()["payload"]["message"]
{'type': 'text', 'text': 'hello'}
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime, timezone
from typing import Any, ClassVar, TypeAlias

from .enums import DeliveryErrorCode, DeliveryState, ReactionType
from .exceptions import InvalidArgumentError

__all__ = [
    "Audio",
    "CommentedPost",
    "Contact",
    "Content",
    "CreateChat",
    "DeliveryStatus",
    "DescribedMessage",
    "EditMessage",
    "File",
    "Forward",
    "Location",
    "Media",
    "NewMessage",
    "Picture",
    "QuotedMessage",
    "Reaction",
    "Sender",
    "SharedPost",
    "Sticker",
    "Text",
    "Typing",
    "Video",
    "Voice",
]


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _milliseconds(time: datetime, name: str) -> int:
    if time.utcoffset() is None:
        raise InvalidArgumentError(
            f"{name}: must be an aware datetime, such as datetime.now(timezone.utc)", field=name
        )
    return round(time.timestamp() * 1000)


def _filled(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True, repr=False)
class _Payload:
    def __repr__(self) -> str:
        shown = ((f, getattr(self, f.name)) for f in fields(self) if f.repr)
        said = (f"{f.name}={value!r}" for f, value in shown if f.default is MISSING or value != f.default)
        return f"{type(self).__name__}({', '.join(said)})"


@dataclass(frozen=True, slots=True, repr=False)
class Sender(_Payload):
    """Somebody in a chat, as the integration names them."""

    user_id: str
    """By the integration's id."""
    name: str = field(repr=False)
    """The name shown."""
    user_ref_id: str | None = field(default=None, kw_only=True)
    """By amoCRM's id: required of a manager or bot who writes outside of the CRM."""
    avatar: str | None = field(default=None, kw_only=True, repr=False)
    """A public address of a picture."""
    phone: str | None = field(default=None, kw_only=True, repr=False)
    """Goes to the contact when the lead is made."""
    email: str | None = field(default=None, kw_only=True, repr=False)
    """Goes to the contact when the lead is made."""
    profile_link: str | None = field(default=None, kw_only=True, repr=False)
    """The profile's page in the messenger."""

    def to_dict(self) -> dict[str, Any]:
        """Writes the vendor's form."""
        profile = _filled(phone=self.phone, email=self.email)
        return _filled(
            id=self.user_id,
            ref_id=self.user_ref_id,
            name=self.name,
            avatar=self.avatar,
            profile=profile or None,
            profile_link=self.profile_link,
        )


@dataclass(frozen=True, slots=True, repr=False)
class Text(_Payload):
    """Text alone. A client's press on a button is sent as text, too."""

    type: ClassVar[str] = "text"

    text: str = field(repr=False)
    """Not empty."""

    def to_dict(self) -> dict[str, Any]:
        """Writes the vendor's form."""
        return {"type": self.type, "text": self.text}


@dataclass(frozen=True, slots=True, repr=False)
class Media(_Payload):
    """An attachment; use :class:`Picture`, :class:`File` and so on."""

    type: ClassVar[str] = "file"

    url: str = field(repr=False)
    """A public ``http`` or ``https`` address; the service fetches it later."""
    file_name: str | None = field(default=None, kw_only=True, repr=False)
    """The file's name."""
    file_size: int | None = field(default=None, kw_only=True)
    """The file's size in bytes."""
    duration: int | None = field(default=None, kw_only=True)
    """The length in seconds, for video, voice and audio."""
    text: str | None = field(default=None, kw_only=True, repr=False)
    """A caption."""

    def to_dict(self) -> dict[str, Any]:
        """Writes the vendor's form."""
        return _filled(
            type=self.type,
            media=self.url,
            file_name=self.file_name,
            file_size=self.file_size,
            media_duration=self.duration,
            text=self.text,
        )


@dataclass(frozen=True, slots=True, repr=False)
class File(Media):
    """Any file."""

    type: ClassVar[str] = "file"


@dataclass(frozen=True, slots=True, repr=False)
class Video(Media):
    """A video."""

    type: ClassVar[str] = "video"


@dataclass(frozen=True, slots=True, repr=False)
class Picture(Media):
    """A picture."""

    type: ClassVar[str] = "picture"


@dataclass(frozen=True, slots=True, repr=False)
class Voice(Media):
    """A voice message."""

    type: ClassVar[str] = "voice"


@dataclass(frozen=True, slots=True, repr=False)
class Audio(Media):
    """Music and other sound."""

    type: ClassVar[str] = "audio"


@dataclass(frozen=True, slots=True, repr=False)
class Sticker(Media):
    """A sticker."""

    type: ClassVar[str] = "sticker"

    sticker_id: str | None = field(default=None, kw_only=True)
    """An id that is valid across accounts."""

    def to_dict(self) -> dict[str, Any]:
        """Writes the vendor's form."""
        return Media.to_dict(self) | _filled(sticker_id=self.sticker_id)


@dataclass(frozen=True, slots=True, repr=False)
class Location(_Payload):
    """A place."""

    type: ClassVar[str] = "location"

    lon: float = field(repr=False)
    """Degrees east, -180 to 180."""
    lat: float = field(repr=False)
    """Degrees north, -90 to 90."""
    text: str | None = field(default=None, kw_only=True, repr=False)
    """A caption."""

    def to_dict(self) -> dict[str, Any]:
        """Writes the vendor's form."""
        return _filled(type=self.type, location={"lon": self.lon, "lat": self.lat}, text=self.text)


@dataclass(frozen=True, slots=True, repr=False)
class Contact(_Payload):
    """A contact card."""

    type: ClassVar[str] = "contact"

    name: str = field(repr=False)
    """The name on the card."""
    phone: str = field(repr=False)
    """The phone on the card."""
    text: str | None = field(default=None, kw_only=True, repr=False)
    """A caption."""

    def to_dict(self) -> dict[str, Any]:
        """Writes the vendor's form."""
        return _filled(type=self.type, contact={"name": self.name, "phone": self.phone}, text=self.text)


Content: TypeAlias = Text | File | Video | Picture | Voice | Audio | Sticker | Location | Contact
"""What is written: one of the nine types."""


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class DescribedMessage(_Payload):
    """A quoted message that the service does not know."""

    content: Content
    """What was written; an attachment's address is not sent."""
    sent_at: datetime
    """When it was written."""
    sender_id: str | None = None
    """Who wrote it, by the integration's id."""
    sender_ref_id: str | None = None
    """Who wrote it, by amoCRM's id."""
    sender_name: str | None = field(default=None, repr=False)
    """Who wrote it, where neither id is known."""

    def to_dict(self) -> dict[str, Any]:
        """Writes the vendor's form."""
        time = _milliseconds(self.sent_at, "sent_at")
        written = self.content.to_dict()
        written.pop("media", None)
        written.pop("sticker_id", None)
        sender = _filled(id=self.sender_id, ref_id=self.sender_ref_id, name=self.sender_name)
        return written | {"timestamp": time // 1000, "msec_timestamp": time, "sender": sender}


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class QuotedMessage(_Payload):
    """A message quoted or forwarded: by one of its ids, or described."""

    message_id: str | None = None
    """By the integration's id."""
    message_ref_id: str | None = None
    """By amoCRM's id."""
    described: DescribedMessage | None = None
    """Where the service knows neither."""

    def to_dict(self) -> dict[str, Any]:
        """Writes the vendor's form."""
        if self.described is not None:
            return self.described.to_dict()
        return _filled(msgid=self.message_id, id=self.message_ref_id)


@dataclass(frozen=True, slots=True, repr=False)
class Forward(_Payload):
    """A forwarded message and where it comes from."""

    message: QuotedMessage
    """The message, of any chat of this integration."""
    conversation_id: str | None = field(default=None, kw_only=True)
    """Its chat, by the integration's id."""
    conversation_ref_id: str | None = field(default=None, kw_only=True)
    """Its chat, by amoCRM's id."""

    def to_dict(self) -> dict[str, Any]:
        """Writes the vendor's form."""
        return _filled(
            messages=[self.message.to_dict()],
            conversation_id=self.conversation_id,
            conversation_ref_id=self.conversation_ref_id,
        )


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class CommentedPost(_Payload):
    """The post under which a message is a comment."""

    id: str
    """The integration's id of the post."""
    url: str = field(repr=False)
    """Its address."""
    preview_url: str | None = field(default=None, repr=False)
    """A short-lived address of its picture."""
    preview_permalink: str | None = field(default=None, repr=False)
    """A lasting address of its picture."""
    username: str | None = field(default=None, repr=False)
    """Its author."""
    caption: str | None = field(default=None, repr=False)
    """Its text."""

    def to_dict(self) -> dict[str, Any]:
        """Writes the vendor's form."""
        return _filled(**{f.name: getattr(self, f.name) for f in fields(self)})


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class SharedPost(_Payload):
    """A post that a client shared."""

    url: str = field(repr=False)
    """Its address."""
    preview_link: str | None = field(default=None, repr=False)
    """A temporary address of its picture."""
    preview_permalink: str | None = field(default=None, repr=False)
    """A lasting address of its picture, which wins over the temporary one."""
    site_name: str | None = field(default=None, repr=False)
    """The caption under the post."""

    def to_dict(self) -> dict[str, Any]:
        """Writes the vendor's form."""
        return {"type": "post"} | _filled(**{f.name: getattr(self, f.name) for f in fields(self)})


@dataclass(frozen=True, slots=True, repr=False)
class NewMessage(_Payload):
    """A message for the CRM: from a client, or one that a manager or bot wrote outside of the CRM."""

    conversation_id: str
    """The chat, by the integration's id; an unknown one makes a new chat."""
    message_id: str
    """The message, by the integration's id. A second message with the same id is refused."""
    sender: Sender
    """Who wrote."""
    content: Content
    """What was written."""
    sent_at: datetime = field(default_factory=_now, kw_only=True, repr=False)
    """When it was written, aware; now unless given. The CRM orders by it."""
    conversation_ref_id: str | None = field(default=None, kw_only=True)
    """The chat, by amoCRM's id: binds the two, for the first answer to a CRM user who wrote first."""
    receiver: Sender | None = field(default=None, kw_only=True)
    """To whom; only for messages written outside of the CRM by a manager or bot."""
    silent: bool = field(default=False, kw_only=True)
    """Import: no notification and no incoming lead."""
    source_external_id: str | None = field(default=None, kw_only=True)
    """The integration's source it came through, up to 40 printable ASCII characters."""
    reply_to: QuotedMessage | None = field(default=None, kw_only=True)
    """The message it answers, of the same chat."""
    forward: Forward | None = field(default=None, kw_only=True)
    """The message it forwards."""
    post: CommentedPost | None = field(default=None, kw_only=True)
    """The post under which it is a comment."""
    shared_post: SharedPost | None = field(default=None, kw_only=True)
    """The post that the client shared."""
    callback_data: str | None = field(default=None, kw_only=True, repr=False)
    """The row that the client chose in a WhatsApp list message; only for text."""

    def to_dict(self) -> dict[str, Any]:
        """Writes the vendor's form."""
        time = _milliseconds(self.sent_at, "sent_at")
        message = self.content.to_dict() | _filled(
            callback_data=self.callback_data,
            post=self.post and self.post.to_dict(),
            shared_post=self.shared_post and self.shared_post.to_dict(),
        )
        payload = _filled(
            timestamp=time // 1000,
            msec_timestamp=time,
            msgid=self.message_id,
            conversation_id=self.conversation_id,
            conversation_ref_id=self.conversation_ref_id,
            sender=self.sender.to_dict(),
            receiver=self.receiver and self.receiver.to_dict(),
            message=message,
            silent=self.silent,
            source=self.source_external_id and {"external_id": self.source_external_id},
            reply_to=self.reply_to and {"message": self.reply_to.to_dict()},
            forwards=self.forward and self.forward.to_dict(),
        )
        return {"event_type": "new_message", "payload": payload}


@dataclass(frozen=True, slots=True, repr=False)
class DeliveryStatus(_Payload):
    """What became of a message from the CRM."""

    state: DeliveryState
    """Delivered, read or failed."""
    error_code: DeliveryErrorCode | None = field(default=None, kw_only=True)
    """Why it failed."""
    error: str | None = field(default=None, kw_only=True, repr=False)
    """Why it failed, in words; shown to the CRM user."""

    @classmethod
    def of(cls, status: "DeliveryStatus | str") -> "DeliveryStatus":
        """Takes ``"delivered"`` and ``"read"`` for what they mean."""
        return status if isinstance(status, DeliveryStatus) else cls(DeliveryState(status))

    @classmethod
    def failed(cls, error_code: DeliveryErrorCode | int, error: str) -> "DeliveryStatus":
        """It could not be delivered."""
        try:
            code = DeliveryErrorCode(error_code)
        except ValueError:
            rule = "must be 901, 902, 903, 904 or 905"
            raise InvalidArgumentError(f"error_code: {rule}", field="error_code") from None
        return cls(DeliveryState.FAILED, error_code=code, error=error)

    def to_dict(self) -> dict[str, Any]:
        """Writes the vendor's form."""
        numbers = {DeliveryState.DELIVERED: 1, DeliveryState.READ: 2, DeliveryState.FAILED: -1}
        number = numbers.get(DeliveryState(self.state))
        if number is None:
            raise InvalidArgumentError("status: must be delivered, read or failed", field="status")
        code = None if self.error_code is None else int(self.error_code)
        return _filled(status_code=number, error_code=code, error=self.error)


@dataclass(frozen=True, slots=True, repr=False)
class EditMessage(_Payload):
    """A change of a message that was sent before. It never notifies anybody."""

    conversation_id: str
    """The chat, by the integration's id."""
    content: Content
    """What it says from now on."""
    message_id: str | None = field(default=None, kw_only=True)
    """The message, by the integration's id."""
    message_ref_id: str | None = field(default=None, kw_only=True)
    """The message, by amoCRM's id."""
    conversation_ref_id: str | None = field(default=None, kw_only=True)
    """The chat, by amoCRM's id."""
    edited_at: datetime = field(default_factory=_now, kw_only=True, repr=False)
    """When it was changed, aware; now unless given."""
    delivery_status: DeliveryStatus | None = field(default=None, kw_only=True)
    """What became of it, reported along."""

    def to_dict(self) -> dict[str, Any]:
        """Writes the vendor's form."""
        time = _milliseconds(self.edited_at, "edited_at")
        status = self.delivery_status and self.delivery_status.to_dict()
        payload = _filled(
            timestamp=time // 1000,
            msec_timestamp=time,
            msgid=self.message_id,
            id=self.message_ref_id,
            conversation_id=self.conversation_id,
            conversation_ref_id=self.conversation_ref_id,
            message=self.content.to_dict() | _filled(delivery_status=status),
        )
        return {"event_type": "edit_message", "payload": payload}


@dataclass(frozen=True, slots=True, repr=False)
class CreateChat(_Payload):
    """A chat to be made without a message: the chat and its client, but no contact and no lead."""

    conversation_id: str
    """The chat, by the integration's id."""
    user: Sender
    """The client, without amoCRM's id."""
    source_external_id: str | None = field(default=None, kw_only=True)
    """The integration's source."""

    def to_dict(self) -> dict[str, Any]:
        """Writes the vendor's form."""
        source = self.source_external_id and {"external_id": self.source_external_id}
        return _filled(conversation_id=self.conversation_id, user=self.user.to_dict(), source=source)


@dataclass(frozen=True, slots=True, repr=False)
class Typing(_Payload):
    """A client is typing."""

    conversation_id: str
    """The chat, by the integration's id; the call knows no other."""
    user_id: str
    """Who types, by the integration's id."""
    duration_ms: int | None = field(default=None, kw_only=True)
    """How long to show it, in milliseconds; 5000 unless given."""

    def to_dict(self) -> dict[str, Any]:
        """Writes the vendor's form."""
        sender = {"id": self.user_id}
        return _filled(
            conversation_id=self.conversation_id, sender=sender, duration_ms=self.duration_ms
        )


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class Reaction(_Payload):
    """Somebody reacts to a message, or takes the reaction back.

    Chat, message and person each need one of their two ids.
    """

    type: ReactionType = ReactionType.REACT
    """Whether it comes or goes."""
    emoji: str | None = field(default=None, repr=False)
    """The emoji; Kommo requires it of one that comes."""
    conversation_id: str | None = None
    """The chat, by the integration's id."""
    conversation_ref_id: str | None = None
    """The chat, by amoCRM's id."""
    message_id: str | None = None
    """The message, by the integration's id."""
    message_ref_id: str | None = None
    """The message, by amoCRM's id."""
    user_id: str | None = None
    """Who reacts, by the integration's id."""
    user_ref_id: str | None = None
    """Who reacts, by amoCRM's id; required of a CRM user."""

    def to_dict(self) -> dict[str, Any]:
        """Writes the vendor's form."""
        return _filled(
            conversation_id=self.conversation_id,
            conversation_ref_id=self.conversation_ref_id,
            msgid=self.message_id,
            id=self.message_ref_id,
            user=_filled(id=self.user_id, ref_id=self.user_ref_id),
            type=str(self.type),
            emoji=self.emoji,
        )


_Written: TypeAlias = Mapping[str, Any] | str | bytes | bytearray | memoryview
"""A request as the vendor writes it: a dict, or JSON."""
