# The native half. Private: `amochats` documents and re-exports what is public.

from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Iterable
from typing import Any, final

__all__ = [
    "__version__",
    "sign_body",
    "sign_request",
    "format_date",
    "verify_webhook",
    "diagnose_signature",
    "Shape",
    "parse_webhook",
    "webhook_json",
    "encode_message",
    "encode_request",
    "parse_history",
    "_error_kinds",
    "_fail",
    "Call",
    "Channel",
    "Client",
    "CrmClient",
    "Stream",
    "Consumer",
    "Sandbox",
    "start",
    "block",
    "_shutdown",
]

__version__: str

def sign_body(secret: str, body: bytes | bytearray | memoryview) -> str: ...
def sign_request(
    secret: str,
    method: str,
    path: str,
    body: bytes | bytearray | memoryview,
    date: str,
    content_type: str,
) -> dict[str, str]: ...
def format_date(seconds: int) -> str: ...
def verify_webhook(
    secrets: str | Iterable[str], body: bytes | bytearray | memoryview, signature: str | None
) -> None: ...
def diagnose_signature(
    secrets: str | Iterable[str],
    body: bytes | bytearray | memoryview,
    signature: str | None,
    expired: str | Iterable[str],
) -> tuple[str, str]: ...
def parse_webhook(body: bytes | bytearray | memoryview, shapes: dict[str, Shape]) -> Any: ...
def webhook_json(body: bytes | bytearray | memoryview) -> bytes: ...
@final
class Shape:
    def __new__(cls, class_: type, fields: list[tuple[str, bool, Any, Any]], open: bool) -> Shape: ...

def encode_message(message: bytes | bytearray | memoryview) -> bytes: ...
def encode_request(name: str, request: bytes | bytearray | memoryview) -> bytes: ...
def parse_history(body: bytes | bytearray | memoryview) -> bytes: ...
def _error_kinds() -> list[tuple[str, int]]: ...
def _fail(code: int) -> None: ...

# What follows is there with the cargo feature `runtime`.

@final
class Call:
    def cancel(self) -> None: ...

@final
class Channel:
    def __new__(cls, form: str, text: str, environment: list[tuple[str, str]]) -> Channel: ...
    def addresses(self) -> tuple[str, str]: ...
    def reload(self, form: str, text: str, environment: list[tuple[str, str]]) -> list[str]: ...
    def client(self, channel_id: str | None) -> Client: ...
    def set_authorizer(self, decide: Callable[[bytes], bool]) -> None: ...
    def extend(self, ack_id: str, lease: float) -> None: ...
    def consumer(self, arguments: bytes) -> Consumer: ...

@final
class Client:
    def __new__(cls, settings: bytes) -> Client: ...
    @property
    def channel_id(self) -> str: ...
    @property
    def base_url(self) -> str: ...
    def with_deadline(self, deadline: float) -> Client: ...
    def history_all(self, arguments: bytes) -> Stream: ...

@final
class CrmClient:
    def __new__(cls, settings: bytes, tokens: Any) -> CrmClient: ...
    @property
    def base_url(self) -> str: ...
    def as_user(self, user: int) -> CrmClient: ...
    def users_all(self) -> Stream: ...
    def templates_all(self, external_id: str | None) -> Stream: ...

@final
class Stream: ...

@final
class Consumer:
    def take(self, shapes: dict[str, Shape]) -> list[tuple[str, int, bool, Any]]: ...

# With the cargo feature `sandbox`.
@final
class Sandbox:
    def __new__(cls, settings: bytes) -> Sandbox: ...

def start(
    target: Any,
    name: str,
    arguments: bytes,
    body: bytes,
    timeout: float | None,
    event_loop: AbstractEventLoop,
    future: Future[bytes],
) -> Call: ...
def block(target: Any, name: str, arguments: bytes, body: bytes, timeout: float | None) -> bytes: ...
def _shutdown() -> None: ...
