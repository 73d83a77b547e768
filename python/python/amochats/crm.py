"""What the CRM's own API takes and answers, as far as a channel needs it.

Answers keep what is not documented in ``extra``. An id is a number of the CRM, unless it says otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Protocol

from .events import _datetime, _OpenRecord, _write_value
from .payloads import _Payload

__all__ = [
    "ChatLink",
    "CreatedContact",
    "CrmAccount",
    "CrmSubscription",
    "CrmUser",
    "Domain",
    "Integration",
    "LinkedChat",
    "NewContact",
    "NewSource",
    "NewTemplate",
    "Review",
    "Source",
    "SourceChange",
    "SourceService",
    "StoredTemplate",
    "Talk",
    "TemplateButton",
    "TemplateChange",
    "TokenStore",
    "Tokens",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Integration:
    """An integration, for OAuth. ``repr`` does not show its secret."""

    client_id: str
    """Its id."""
    client_secret: str = field(repr=False)
    """Its secret."""
    redirect_uri: str
    """Where a user comes back to, as it was registered."""

    def _write(self) -> dict[str, str]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The tokens of an account. ``repr`` does not show them."""

    access_token: str = field(repr=False)
    """Opens the API."""
    refresh_token: str | None = field(default=None, repr=False)
    """Gets the next pair; it works once."""
    expires_in: int | None = None
    """Seconds from their making until the access token ends."""
    server_time: int | None = None
    """When they were made, in Unix seconds."""


class TokenStore(Protocol):
    """Where an account's tokens are kept: in a database, or a file.

    A refresh token works once, so what is kept here decides whether the integration still gets in
    tomorrow. Both methods are called on a thread of amochats.
    """

    def load(self) -> Tokens:
        """Gives the pair that was kept last."""
        ...

    def store(self, tokens: Tokens) -> None:
        """Keeps a new pair durably. It is not used before this returns."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class _Request(_Payload):
    def to_dict(self) -> dict[str, Any]:
        """Writes the CRM's form; what is None is left out."""
        written: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if value is not None and value != ():
                written[f.name] = _written(value)
        return written


def _written(value: Any) -> Any:
    if isinstance(value, _Request):
        return value.to_dict()
    if isinstance(value, list | tuple):
        return [_written(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _written(item) for name, item in value.items()}
    return _write_value(value)


@dataclass(frozen=True, slots=True, repr=False)
class ChatLink(_Request):
    """A chat to be linked to a contact."""

    contact_id: int
    """The contact."""
    chat_id: str
    """The chat, by amoCRM's id: ``conversation_ref_id``."""
    request_id: str | None = field(default=None, kw_only=True)
    """Comes back with the answer."""


@dataclass(frozen=True, slots=True, repr=False)
class NewContact(_Request):
    """A contact to be made."""

    name: str | None = field(default=None, repr=False)
    """The whole name."""
    first_name: str | None = field(default=None, repr=False, kw_only=True)
    """The first name."""
    last_name: str | None = field(default=None, repr=False, kw_only=True)
    """The last name."""
    request_id: str | None = field(default=None, kw_only=True)
    """Comes back with the answer."""


@dataclass(frozen=True, slots=True, repr=False)
class SourceService(_Request):
    """A service of a source, such as ``whatsapp``."""

    type: str
    """Its type."""
    params: Mapping[str, Any] | None = field(default=None, kw_only=True, hash=False)
    """``waba`` and ``is_supports_list_message``."""
    pages: tuple[Mapping[str, Any], ...] = field(default=(), kw_only=True, hash=False)
    """Each with ``id``, ``name`` and ``link``."""


@dataclass(frozen=True, slots=True, repr=False)
class NewSource(_Request):
    """A source to be made: a phone number or page through which clients write."""

    name: str
    """Its name."""
    external_id: str
    """The integration's id of it, up to 40 printable ASCII characters."""
    pipeline_id: int | None = field(default=None, kw_only=True)
    """The pipeline of its leads."""
    default: bool | None = field(default=None, kw_only=True)
    """Whether messages without a source belong to it."""
    origin_code: str | None = field(default=None, kw_only=True)
    """The channel's code."""
    services: tuple[SourceService, ...] = field(default=(), kw_only=True)
    """Its services."""
    request_id: str | None = field(default=None, kw_only=True)
    """Comes back with the answer."""


@dataclass(frozen=True, slots=True, repr=False)
class SourceChange(_Request):
    """The change of a source; what is None stays as it is."""

    id: int
    """The source."""
    name: str | None = field(default=None, kw_only=True)
    """Its name."""
    pipeline_id: int | None = field(default=None, kw_only=True)
    """The pipeline of its leads."""
    default: bool | None = field(default=None, kw_only=True)
    """Whether messages without a source belong to it."""
    origin_code: str | None = field(default=None, kw_only=True)
    """The channel's code."""
    services: tuple[SourceService, ...] | None = field(default=None, kw_only=True)
    """Its services."""


@dataclass(frozen=True, slots=True, repr=False)
class TemplateButton(_Request):
    """A button of a template."""

    text: str = field(repr=False)
    """The label."""
    type: str = field(default="inline", kw_only=True)
    """``inline`` or ``url``."""
    url: str | None = field(default=None, kw_only=True, repr=False)
    """The address that one of type ``url`` opens."""


@dataclass(frozen=True, slots=True, repr=False)
class NewTemplate(_Request):
    """A template of messages to be made."""

    name: str
    """Its name."""
    content: str = field(repr=False)
    """The text with its markers."""
    external_id: str | None = field(default=None, kw_only=True)
    """The integration's id of it."""
    is_editable: bool | None = field(default=None, kw_only=True)
    """Whether users may change it."""
    buttons: tuple[TemplateButton, ...] = field(default=(), kw_only=True)
    """Its buttons."""
    attachment: Mapping[str, Any] | None = field(default=None, kw_only=True, hash=False, repr=False)
    """A file of the CRM's drive: ``id``, ``name``, ``type``."""
    type: str | None = field(default=None, kw_only=True)
    """``waba`` for one of WhatsApp."""
    waba_footer: str | None = field(default=None, kw_only=True, repr=False)
    """The footer, of WhatsApp."""
    waba_category: str | None = field(default=None, kw_only=True)
    """The category, of WhatsApp."""
    waba_language: str | None = field(default=None, kw_only=True)
    """The language, of WhatsApp."""
    waba_examples: Mapping[str, str] | None = field(default=None, kw_only=True, hash=False, repr=False)
    """Examples of its markers, of WhatsApp."""
    waba_header: str | None = field(default=None, kw_only=True, repr=False)
    """The header, up to 60 characters, of WhatsApp."""
    waba_header_type: str | None = field(default=None, kw_only=True)
    """``text`` or ``media``, of WhatsApp."""
    request_id: str | None = field(default=None, kw_only=True)
    """Comes back with the answer."""


@dataclass(frozen=True, slots=True, repr=False)
class TemplateChange(_Request):
    """The change of a template; what is None stays as it is."""

    id: int
    """The template."""
    name: str | None = field(default=None, kw_only=True)
    """Its name."""
    content: str | None = field(default=None, kw_only=True, repr=False)
    """The text with its markers."""
    external_id: str | None = field(default=None, kw_only=True)
    """The integration's id of it."""
    is_editable: bool | None = field(default=None, kw_only=True)
    """Whether users may change it."""
    buttons: tuple[TemplateButton, ...] | None = field(default=None, kw_only=True)
    """Its buttons."""
    waba_header: str | None = field(default=None, kw_only=True, repr=False)
    """The header, of WhatsApp."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CrmAccount(_OpenRecord):
    """An account of the CRM."""

    id: int | None = None
    """Its number."""
    amojo_id: str | None = None
    """Its id inside the chat service: the ``account_id`` of a channel."""
    name: str | None = field(default=None, repr=False)
    """Its name."""
    subdomain: str | None = None
    """The first label of its host."""
    country: str | None = None
    """Its country."""
    current_user_id: int | None = None
    """The user whom the token belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CrmUser(_OpenRecord):
    """A user of the CRM."""

    id: int
    """The user's number."""
    amojo_id: str | None = None
    """The user's id inside the chat service: the ``user_ref_id`` of a manager."""
    name: str | None = field(default=None, repr=False)
    """The user's name."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LinkedChat(_OpenRecord):
    """A chat that is linked to a contact."""

    id: int
    """The link's number."""
    contact_id: int
    """The contact."""
    chat_id: str
    """The chat, by amoCRM's id."""
    request_id: str | None = None
    """As it was sent."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CreatedContact(_OpenRecord):
    """A contact that was made."""

    id: int
    """Its number."""
    request_id: str | None = None
    """As it was sent."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Source(_OpenRecord):
    """A source of the integration."""

    id: int
    """Its number."""
    name: str | None = None
    """Its name."""
    external_id: str | None = None
    """The integration's id of it."""
    pipeline_id: int | None = None
    """The pipeline of its leads."""
    default: bool | None = None
    """Whether messages without a source belong to it."""
    origin_code: str | None = None
    """The channel's code."""
    request_id: str | None = None
    """As it was sent."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Review(_OpenRecord):
    """What WhatsApp says of a template."""

    id: int
    """Its number."""
    source_id: int | None = None
    """The source it is for."""
    status: str | None = None
    """Such as ``review``, ``approved``, ``paused`` or ``rejected``."""
    reject_reason: str | None = field(default=None, repr=False)
    """Why it was rejected."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StoredTemplate(_OpenRecord):
    """A template of the integration."""

    id: int
    """Its number."""
    name: str | None = None
    """Its name."""
    content: str | None = field(default=None, repr=False)
    """The text with its markers."""
    external_id: str | None = None
    """The integration's id of it."""
    type: str | None = None
    """``waba`` for one of WhatsApp."""
    is_editable: bool | None = None
    """Whether users may change it."""
    is_on_review: bool | None = None
    """Whether a review is under way."""
    review_status: str | None = None
    """What became of its review."""
    request_id: str | None = None
    """As it was sent."""

    @property
    def reviews(self) -> tuple[Review, ...]:
        """Its reviews."""
        found = self.extra.get("_embedded", {}).get("reviews") or self.extra.get("reviews") or ()
        return tuple(Review._read(review) for review in found)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Talk(_OpenRecord):
    """A chat's conversation with a beginning and an end."""

    talk_id: int
    """Its number."""
    chat_id: str | None = None
    """The chat, by amoCRM's id."""
    contact_id: int | None = None
    """The contact."""
    entity_id: int | None = None
    """The lead or customer."""
    entity_type: str | None = None
    """What that is."""
    is_in_work: bool | None = None
    """Whether it is open."""
    is_read: bool | None = None
    """Whether a user has read it."""
    rate: int | None = None
    """How the client rated it."""
    origin: str | None = None
    """The channel's code."""
    created_at: int | None = None
    """When it began, in Unix seconds."""
    updated_at: int | None = None
    """When it last changed, in Unix seconds."""

    @property
    def began_at(self) -> datetime | None:
        """When it began, in UTC."""
        return _datetime(self.created_at, None)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CrmSubscription(_OpenRecord):
    """A subscription to the CRM's own webhooks."""

    id: int | None = None
    """Its number."""
    destination: str
    """The address."""
    settings: tuple[str, ...] = ()
    """The events, such as ``add_talk``."""
    disabled: bool | None = None
    """Whether it is switched off."""

    @classmethod
    def _read(cls, data: dict[str, Any], **values: Any) -> "CrmSubscription":
        settings = tuple(data.pop("settings", ()))
        # Zero-argument super() does not find a class that was made anew for its slots.
        return super(CrmSubscription, cls)._read(data, settings=settings)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Domain(_OpenRecord):
    """Where an account is now."""

    id: int | None = None
    """The account's number."""
    subdomain: str
    """The first label of its host."""
    domain: str | None = None
    """Its host."""
    top_level_domain: str | None = None
    """Such as ``ru``."""


