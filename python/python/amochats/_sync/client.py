# Generated from _async/client.py by python/unasync.py: edit that file.
"""The client of the chats API."""

import json
from collections.abc import Iterator, Iterable, Mapping
from types import TracebackType
from typing import Any, TypeVar

from .._native import arguments, make
from ..answers import Connected, CreatedChat, HistoryMessage, HistoryPage, MessageReceipt
from ..exceptions import ClosedError
from ..messages import _json
from ..payloads import CreateChat, DeliveryStatus, EditMessage, NewMessage, Reaction, Typing
from ._call import call

_C = TypeVar("_C", bound="Client")


class Client:
    """Calls the chats API for one channel, directly: nothing is kept, and nothing is sent again that
    could have its effect twice. :meth:`AsyncChannel.send_message` does both.

    One client serves any number of threads and calls. A call that is cancelled may have had its
    effect. Calls are paced: as many a second for each scope as ``requests_per_second`` says.

    Every call may raise :class:`InvalidArgumentError` for its arguments, :class:`RejectedError`,
    :class:`ForbiddenError`, :class:`NotFoundError`, :class:`RateLimitedError`,
    :class:`UnavailableError`, :class:`UnexpectedResponseError`, :class:`RequestTimeoutError` or
    :class:`TransportError`.

    Args:
        channel_id: The channel's id, a UUID.
        secret: The channel's secret, as the text that support sent.
        region: ``ru`` (amoCRM), ``kommo``, or ``com`` (accounts from before 2022).
        base_url: In place of a region an address, such as a sandbox's.
        timeout: Seconds for an attempt, from its start to the last byte of the answer; 10.
        connect_timeout: Seconds for the making of a connection; 5.
        deadline: Seconds for a call with all its waiting and repeats; 30.
        requests_per_second: For each scope; 7. 0 is no limit.
        send_once: Never sends a call again.
        body_signature_only: Signs as in the first generation of the API.
        user_agent: The caller's own product, such as ``shop-bot/2``, added to the ``User-Agent``.
        root_certificates: More certificates to trust, in PEM.

    Raises:
        InvalidArgumentError: A setting breaks a rule; ``field`` names it.
        ForkedError: amochats was in use before this process was forked.
    """

    def __init__(
        self,
        channel_id: str,
        secret: str,
        *,
        region: str | None = None,
        base_url: str | None = None,
        timeout: float | None = None,
        connect_timeout: float | None = None,
        deadline: float | None = None,
        requests_per_second: int | None = None,
        send_once: bool = False,
        body_signature_only: bool = False,
        user_agent: str | None = None,
        root_certificates: Iterable[str] = (),
    ) -> None:
        settings = arguments(
            {
                "channel_id": channel_id,
                "secret": secret,
                "region": region,
                "base_url": base_url,
                "timeout": timeout,
                "connect_timeout": connect_timeout,
                "deadline": deadline,
                "requests_per_second": requests_per_second,
                "send_once": send_once,
                "body_signature_only": body_signature_only,
                "user_agent": user_agent,
                "root_certificates": list(root_certificates),
            }
        )
        self._native: Any = make("Client", settings)

    @classmethod
    def _of(cls: type[_C], native: Any) -> _C:
        client = cls.__new__(cls)
        client._native = native
        return client

    def __enter__(self: _C) -> _C:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the client; later calls raise :class:`ClosedError`. Calls under way go on."""
        self._native = None

    def __repr__(self) -> str:
        if self._native is None:
            return f"<{type(self).__name__}, closed>"
        return f"<{type(self).__name__} of {self.channel_id} at {self.base_url}>"

    def _open(self) -> Any:
        if self._native is None:
            raise ClosedError("the client is closed")
        return self._native

    @property
    def channel_id(self) -> str:
        """The channel it calls for."""
        return str(self._open().channel_id)

    @property
    def base_url(self) -> str:
        """Where it calls, without a final slash."""
        return str(self._open().base_url)

    def scope_id(self, account_id: str) -> str:
        """The connection of this channel and an account: what most calls are made over."""
        return f"{self.channel_id}_{account_id}"

    def with_deadline(self: _C, seconds: float) -> _C:
        """The same client, its connections and pace, with another deadline for each call."""
        return self._of(self._open().with_deadline(seconds))

    def connect(
        self,
        account_id: str,
        *,
        title: str | None = None,
        hook_version: str = "v2",
        is_time_window_disabled: bool | None = None,
    ) -> Connected:
        """Connects the channel to an account. To be done again after every installation.

        Args:
            account_id: The account inside the chat service: its ``amojo_id``.
            title: The channel's name in this account; Kommo wants one.
            hook_version: The form of webhooks, ``v2`` or ``v1``.
            is_time_window_disabled: Switches the channel's time window off in this account.

        Raises:
            NotFoundError: There is no such channel.
        """
        values = {
            "account_id": account_id,
            "title": title,
            "hook_version": hook_version,
            "is_time_window_disabled": is_time_window_disabled,
        }
        return Connected._read(call(self._open(), "connect", values))

    def disconnect(self, account_id: str) -> None:
        """Disconnects the channel from an account: no more webhooks come from it."""
        call(self._open(), "disconnect", {"account_id": account_id})

    def send_message(
        self, scope_id: str, message: NewMessage | Mapping[str, Any] | str | bytes
    ) -> MessageReceipt:
        """Sends a message to the CRM. A second message with the same id is refused.

        Args:
            scope_id: The connection, see :meth:`scope_id`.
            message: A :class:`NewMessage`, or the request as the vendor writes it.
        """
        body = _json("message", message)
        return MessageReceipt._read(call(self._open(), "send_message", {"scope_id": scope_id}, body))

    def edit_message(
        self, scope_id: str, edit: EditMessage | Mapping[str, Any] | str | bytes
    ) -> MessageReceipt:
        """Changes a message that was sent before; nobody is notified."""
        body = _json("edit", edit)
        return MessageReceipt._read(call(self._open(), "edit_message", {"scope_id": scope_id}, body))

    def create_chat(
        self, scope_id: str, chat: CreateChat | Mapping[str, Any] | str | bytes
    ) -> CreatedChat:
        """Creates a chat and its client without a message. For a chat that exists it tells the ids."""
        body = _json("chat", chat)
        return CreatedChat._read(call(self._open(), "create_chat", {"scope_id": scope_id}, body))

    def set_delivery_status(
        self, scope_id: str, message_ref_id: str, status: DeliveryStatus | str
    ) -> None:
        """Reports what became of a message from the CRM.

        Args:
            scope_id: The connection.
            message_ref_id: The message, by **amoCRM's** id.
            status: ``delivered``, ``read``, or a :class:`DeliveryStatus`.

        Raises:
            NotFoundError: There is no such message.
        """
        body = _json("status", DeliveryStatus.of(status))
        values = {"scope_id": scope_id, "message_ref_id": message_ref_id}
        call(self._open(), "set_delivery_status", values, body)

    def history_page(
        self, scope_id: str, conversation_ref_id: str, *, offset: int = 0, limit: int = 50
    ) -> HistoryPage:
        """Reads one page of the history of a chat, the newest message first.

        Args:
            scope_id: The connection.
            conversation_ref_id: The chat, by **amoCRM's** id.
            offset: How many of the newest messages to skip.
            limit: How many to read at most, 1 to 50.
        """
        values = {
            "scope_id": scope_id,
            "conversation_ref_id": conversation_ref_id,
            "offset": offset,
            "limit": limit,
        }
        return HistoryPage._read(call(self._open(), "history", values))

    def history(
        self, scope_id: str, conversation_ref_id: str, *, page_size: int = 50
    ) -> Iterator[HistoryMessage]:
        """Iterates over the whole history of a chat, the newest message first, each once.

        Args:
            scope_id: The connection.
            conversation_ref_id: The chat, by **amoCRM's** id.
            page_size: How many messages to read at a time, 1 to 50.
        """
        values = {"scope_id": scope_id, "conversation_ref_id": conversation_ref_id, "limit": page_size}
        messages = self._open().history_all(json.dumps(values).encode())
        while (message := call(messages, "next")) is not None:
            yield HistoryMessage._read(message)

    def send_typing(
        self, scope_id: str, typing: Typing | Mapping[str, Any] | str | bytes
    ) -> None:
        """Shows the CRM users that a client is typing."""
        call(self._open(), "send_typing", {"scope_id": scope_id}, _json("typing", typing))

    def react(
        self, scope_id: str, reaction: Reaction | Mapping[str, Any] | str | bytes
    ) -> None:
        """Adds a reaction to a message, or takes it back.

        Raises:
            NotFoundError: There is no such message.
        """
        call(self._open(), "react", {"scope_id": scope_id}, _json("reaction", reaction))
