"""Words that the service or the runtime uses; a word of the future is kept as it is.

>>> ItemState("sent") is ItemState.SENT, ItemState("sent") == "sent"
(True, True)
>>> ItemState("recalled"), ItemState("recalled").is_known
(ItemState('recalled'), False)
"""

from enum import Enum
from typing import Any, TypeVar

__all__ = [
    "AccountState",
    "AttachmentState",
    "DeliveryErrorCode",
    "DeliveryState",
    "EventKind",
    "EventState",
    "ItemState",
    "MessageType",
    "Origin",
    "ReactionType",
]

_E = TypeVar("_E", bound="_OpenEnum")


class _OpenEnum(str, Enum):
    """Text that is one of the known words, or another one."""

    @classmethod
    def _missing_(cls: type[_E], value: object) -> _E | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = value
        member._value_ = value
        return member

    @property
    def is_known(self) -> bool:
        """Whether it is one of the members."""
        return type(self)._value2member_map_.get(self._value_) is self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._value_!r})"

    def __str__(self) -> str:
        return str(self._value_)

    def __format__(self, form: str) -> str:
        return format(str(self._value_), form)

    def __copy__(self: _E) -> _E:
        return self

    def __deepcopy__(self: _E, memo: Any) -> _E:
        return self


class MessageType(_OpenEnum):
    """What a message consists of."""

    TEXT = "text"
    CONTACT = "contact"
    FILE = "file"
    VIDEO = "video"
    PICTURE = "picture"
    VOICE = "voice"
    AUDIO = "audio"
    STICKER = "sticker"
    LOCATION = "location"


class ReactionType(_OpenEnum):
    """Whether a reaction comes or goes."""

    REACT = "react"
    UNREACT = "unreact"


class EventKind(_OpenEnum):
    """What an event tells of."""

    MESSAGE = "message"
    TYPING = "typing"
    REACTION = "reaction"
    OUTBOX = "outbox"
    UNKNOWN = "unknown"


class Origin(_OpenEnum):
    """How an event came here."""

    WEBHOOK = "webhook"
    BACKFILL = "backfill"
    """From the history, since no webhook had brought it."""
    OUTBOX = "outbox"
    """A call of ours came to its end."""


class ItemState(_OpenEnum):
    """Where an item of the outbox is."""

    QUEUED = "queued"
    SENDING = "sending"
    RESOLVING = "resolving"
    """It may have arrived: the history is being asked."""
    SENT = "sent"
    REJECTED = "rejected"
    """The service refused it."""
    UNKNOWN = "unknown"
    """Whether it arrived could not be found out."""
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to it."""
        return self not in (ItemState.QUEUED, ItemState.SENDING, ItemState.RESOLVING)


class AccountState(_OpenEnum):
    """How an account stands."""

    DISCOVERED = "discovered"
    """A webhook of it came."""
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    DISABLED = "disabled"
    """The account switched the integration off."""


class AttachmentState(_OpenEnum):
    """How far the fetching of an attachment is."""

    PENDING = "pending"
    """It is to be fetched, perhaps again."""
    FETCHED = "fetched"
    FAILED = "failed"
    """It was given up."""


class EventState(_OpenEnum):
    """Where an event is in a subscription."""

    WAITING = "waiting"
    """Behind an earlier one of its conversation, or not looked at yet."""
    READY = "ready"
    """It goes to the next consumer with room."""
    LEASED = "leased"
    """It is handed out."""
    DELAYED = "delayed"
    """It is to be handed out again, later."""
    DEAD = "dead"
    """It was given up."""
    SETTLED = "settled"
    """It was dealt with, or dropped, or is older than the subscription."""
    LEFT_OUT = "left_out"
    """The subscription's filter leaves it out."""


class DeliveryState(_OpenEnum):
    """What became of a message from the CRM."""

    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"


class DeliveryErrorCode(int, Enum):
    """Why a message could not be delivered; the service takes no other."""

    DELETED = 901
    """The client deleted the conversation or the message."""
    INTEGRATION_DISABLED = 902
    """The integration is switched off on the channel's side."""
    INTERNAL_ERROR = 903
    """An error inside the integration."""
    CANNOT_CREATE_CONVERSATION = 904
    """The conversation cannot be made."""
    OTHER = 905
    """Anything else; the words must say what."""
