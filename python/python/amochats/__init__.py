"""The chat channel of amoCRM and Kommo: signing, webhooks and messages.

Receive a webhook: check its signature against the raw body, then parse it.

>>> import amochats
>>> body = b'{"message":{"conversation":{"client_id":"c-9"},"message":{"type":"text","text":"hi"}}}'
>>> signature = amochats.sign_body("channel-secret", body)  # in life: the X-Signature header
>>> amochats.verify_webhook("channel-secret", body, signature)
>>> match amochats.parse_webhook(body):
...     case amochats.MessageEvent(conversation_id, text):
...         print(conversation_id, "is told:", text)
...     case amochats.TypingEvent(conversation_id):
...         print(conversation_id, "sees typing")
c-9 is told: hi

Send a message: write its body once, sign and send those same bytes.

>>> body = amochats.encode_message({
...     "event_type": "new_message",
...     "payload": {
...         "timestamp": 1704067200, "msgid": "m-17", "conversation_id": "c-9",
...         "sender": {"id": "u-5", "name": "Anna"}, "message": {"type": "text", "text": "hello"},
...     },
... })
>>> headers = amochats.sign_request("channel-secret", "POST", "/v2/origin/custom/channel_account", body)
>>> sorted(headers)
['Content-MD5', 'Content-Type', 'Date', 'X-Signature']
"""

from ._amochats import __version__
from .events import (
    Button,
    EmbeddedMessage,
    Event,
    Forwards,
    ListMessage,
    ListRow,
    ListSection,
    Markup,
    MessageEvent,
    Participant,
    Post,
    ReactionEvent,
    Template,
    TemplateParam,
    TypingEvent,
    UnknownEvent,
)
from .exceptions import (
    AmochatsError,
    BodyTooLargeError,
    ClosedError,
    ConfigError,
    ForbiddenError,
    ForkedError,
    InternalError,
    InvalidArgumentError,
    LeaseLostError,
    MalformedWebhookError,
    MisuseError,
    NotFoundError,
    QueueFullError,
    RateLimitedError,
    RejectedError,
    RequestTimeoutError,
    SignatureError,
    SignatureMismatchError,
    SignatureMissingError,
    StoreError,
    StoreFullError,
    StoreLockedError,
    SubscriptionNotFoundError,
    TransportError,
    UnauthenticatedError,
    UnavailableError,
    UnexpectedResponseError,
    UnknownChannelError,
)
from .messages import encode_message, encode_request, parse_history
from .signing import sign_body, sign_request
from .webhooks import SignatureVerdict, diagnose_signature, parse_webhook, verify_webhook

__all__ = [
    "AmochatsError",
    "BodyTooLargeError",
    "Button",
    "ClosedError",
    "ConfigError",
    "EmbeddedMessage",
    "Event",
    "ForbiddenError",
    "ForkedError",
    "Forwards",
    "InternalError",
    "InvalidArgumentError",
    "LeaseLostError",
    "ListMessage",
    "ListRow",
    "ListSection",
    "MalformedWebhookError",
    "Markup",
    "MessageEvent",
    "MisuseError",
    "NotFoundError",
    "Participant",
    "Post",
    "QueueFullError",
    "RateLimitedError",
    "ReactionEvent",
    "RejectedError",
    "RequestTimeoutError",
    "SignatureError",
    "SignatureMismatchError",
    "SignatureMissingError",
    "SignatureVerdict",
    "StoreError",
    "StoreFullError",
    "StoreLockedError",
    "SubscriptionNotFoundError",
    "Template",
    "TemplateParam",
    "TransportError",
    "TypingEvent",
    "UnauthenticatedError",
    "UnavailableError",
    "UnexpectedResponseError",
    "UnknownChannelError",
    "UnknownEvent",
    "__version__",
    "diagnose_signature",
    "encode_message",
    "encode_request",
    "parse_history",
    "parse_webhook",
    "sign_body",
    "sign_request",
    "verify_webhook",
]
