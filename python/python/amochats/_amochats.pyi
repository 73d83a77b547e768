# The native half. Private: `amochats` documents and re-exports what is public.

from collections.abc import Iterable

__all__ = [
    "__version__",
    "sign_body",
    "sign_request",
    "format_date",
    "verify_webhook",
    "diagnose_signature",
    "parse_webhook",
    "encode_message",
    "encode_request",
    "parse_history",
    "_error_kinds",
    "_fail",
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
def parse_webhook(body: bytes | bytearray | memoryview) -> tuple[bytes, bytes]: ...
def encode_message(message: bytes | bytearray | memoryview) -> bytes: ...
def encode_request(name: str, request: bytes | bytearray | memoryview) -> bytes: ...
def parse_history(body: bytes | bytearray | memoryview) -> bytes: ...
def _error_kinds() -> list[tuple[str, int]]: ...
def _fail(code: int) -> None: ...
