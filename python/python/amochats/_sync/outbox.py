# Generated from _async/outbox.py by python/unasync.py: edit that file.
"""Calls that are kept until they are made."""

from collections.abc import Iterator, Iterable, Mapping
from typing import Any

from .._native import PAGE
from ..events import OutboxItem
from ..messages import _json
from ..payloads import CreateChat, DeliveryStatus, EditMessage, NewMessage, Reaction
from ._call import call

_CALLS: dict[type[Any], str] = {
    NewMessage: "send_message",
    EditMessage: "edit_message",
    Reaction: "react",
    CreateChat: "create_chat",
    DeliveryStatus: "set_delivery_status",
}


def _id(item: OutboxItem | str) -> str:
    return item.item_id if isinstance(item, OutboxItem) else item


class BlockingOutbox:
    """Calls that are kept durably and made when it is possible, in order within a conversation.

    What fails is repeated where that is safe; what may have arrived is looked for first.
    """

    def __init__(self, native: Any) -> None:
        self._native = native

    def enqueue(
        self,
        scope_id: str,
        request: NewMessage
        | EditMessage
        | Reaction
        | CreateChat
        | DeliveryStatus
        | Mapping[str, Any]
        | str
        | bytes,
        *,
        call_name: str | None = None,
        message_ref_id: str | None = None,
        conversation_ref_id: str | None = None,
        key: str | None = None,
        expires_in: float | None = None,
    ) -> OutboxItem:
        """Keeps a call durably and makes it when its turn comes.

        Args:
            scope_id: The connection.
            request: What to send: a class of :mod:`amochats.payloads`; or the vendor's form, which is
                a ``send_message`` unless ``call_name`` says otherwise.
            call_name: ``send_message``, ``edit_message``, ``react``, ``create_chat`` or
                ``set_delivery_status``.
            message_ref_id: The message of a :class:`DeliveryStatus`, by **amoCRM's** id.
            conversation_ref_id: Its chat, so that the report keeps its place among the chat's calls.
            key: Makes a repeat harmless: the same key with the same call is the same item. A message
                has its ``message_id`` as the key and takes no other.
            expires_in: After so many seconds it is not sent any more.

        Raises:
            InvalidArgumentError: A field breaks a rule, or ``key`` was used for another call.
            UnknownChannelError: The scope is of no channel that is configured.
            QueueFullError: Too many items wait.
            StoreError: It is not promised to be sent.
        """
        values = {
            "scope_id": scope_id,
            "call": call_name or _CALLS.get(type(request), "send_message"),
            "message_ref_id": message_ref_id,
            "conversation_ref_id": conversation_ref_id,
            "key": key,
            "expires_in": expires_in,
        }
        return OutboxItem._read(call(self._native, "enqueue", values, _json("request", request)))

    def get(self, item: OutboxItem | str) -> OutboxItem:
        """The item as it is now.

        Raises:
            NotFoundError: There is none of this id.
        """
        return OutboxItem._read(call(self._native, "outbox_get", {"item_id": _id(item)}))

    def wait(self, item: OutboxItem | str, *, timeout: float | None = None) -> OutboxItem:
        """Waits until nothing more will happen to an item, and returns it.

        Args:
            item: The item, or its id.
            timeout: Seconds; None waits for ever.

        Raises:
            RequestTimeoutError: It has not ended in time; it goes on.
            NotFoundError: There is none of this id.
        """
        found = call(self._native, "outbox_wait", {"item_id": _id(item)}, timeout=timeout)
        return OutboxItem._read(found)

    def cancel(self, item: OutboxItem | str) -> OutboxItem:
        """Takes an item back that was not sent yet.

        Raises:
            NotFoundError: There is none of this id.
            MisuseError: It is on its way, may have arrived or has ended otherwise.
        """
        return OutboxItem._read(call(self._native, "outbox_cancel", {"item_id": _id(item)}))

    def list(
        self, *, states: Iterable[str] = (), scope_id: str | None = None
    ) -> Iterator[OutboxItem]:
        """Iterates over items in the order of their enqueueing.

        Args:
            states: In one of these states; in any, if empty.
            scope_id: Only of this connection.
        """
        after = None
        wanted = [str(state) for state in states]
        while True:
            values = {"states": wanted, "scope_id": scope_id, "after": after, "limit": PAGE}
            page = call(self._native, "outbox_list", values)
            for found in page:
                item = OutboxItem._read(found)
                after = item.item_id
                yield item
            if len(page) < PAGE:
                return
