"""Files that go with messages."""

import mimetypes
import os
from pathlib import PurePath
from typing import Any

from ..answers import Attached, Attachment
from ._call import call


class ChannelMedia:
    """Files that go with messages: those that a program attaches, and those that came.

    What a message brings to the CRM the service fetches from an address: :meth:`attach` keeps a file and
    gives a link to it, which the listener serves until it expires. What came from the CRM is fetched and
    kept where the configuration has ``media.fetch``.
    """

    def __init__(self, native: Any) -> None:
        self._native = native

    async def attach(
        self,
        content: "bytes | bytearray | memoryview | os.PathLike[str]",
        *,
        file_name: str | None = None,
        content_type: str | None = None,
        expires_in: float | None = None,
        scope_id: str | None = None,
        conversation: str | None = None,
    ) -> Attached:
        """Keeps a file durably and gives a link to it, to be sent as the media of a message.

        Args:
            content: The file's bytes; or where it is, as a :class:`pathlib.Path`.
            file_name: The name that it is served with; needed for bytes.
            content_type: Its media type; by the name, unless given.
            expires_in: Seconds that the link works; as the configuration says, unless given.
            scope_id: With ``conversation``: the connection that it is for.
            conversation: The conversation that it is for, by either id: they are purged together.

        Raises:
            InvalidArgumentError: A field breaks a rule, or the file cannot be read.
            BodyTooLargeError: It is larger than ``media.max_bytes``.
            StoreFullError: There is no room for it.
        """
        path = None
        if isinstance(content, os.PathLike):
            path = os.path.abspath(content)
            content = b""
        name = PurePath(path or "").name if file_name is None else file_name
        values = {
            "file_name": name,
            "content_type": content_type or mimetypes.guess_type(name)[0] or "application/octet-stream",
            "path": path,
            "expires_in": expires_in,
            "scope_id": scope_id,
            "conversation": conversation,
        }
        return Attached._read(await call(self._native, "media.attach", values, content))

    async def attachment(self, event_id: str) -> Attachment:
        """What the message of this event came with.

        Raises:
            NotFoundError: The event is not kept, came with nothing, or ``media.fetch`` is off.
        """
        return Attachment._read(await call(self._native, "media.attachment", {"event_id": event_id}))

    async def wait(self, event_id: str, *, timeout: float | None = None) -> Attachment:
        """Waits until what the message of this event came with is fetched or given up, and returns it.

        Args:
            event_id: The event's id.
            timeout: Seconds; None waits for ever.

        Raises:
            RequestTimeoutError: It has not ended in time; it goes on.
            NotFoundError: As for :meth:`attachment`; also where the event is purged meanwhile.
        """
        found = await call(self._native, "media.wait", {"event_id": event_id}, timeout=timeout)
        return Attachment._read(found)
