"""The pytest plugin, which the wheel brings along::

    def test_my_integration(amochats_sandbox):
        chat_id = my_program.send("hello", to=amochats_sandbox.api)
        amochats_sandbox.answer(chat_id, "good morning")
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ._sync.channel import BlockingChannel
from .sandbox import Sandbox

__all__ = ["amochats_channel", "amochats_sandbox"]


@pytest.fixture
def amochats_sandbox() -> Iterator[Sandbox]:
    """A local amoCRM of the test's own: a :class:`amochats.sandbox.Sandbox`."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def amochats_channel(
    amochats_sandbox: Sandbox, tmp_path: Path
) -> Iterator[Callable[..., BlockingChannel]]:
    """Makes an open channel that is connected to ``amochats_sandbox``: ``channel = amochats_channel()``.

    Its arguments are further sections of the configuration.
    """
    with ExitStack() as stack:

        def make(**sections: Any) -> BlockingChannel:
            config = amochats_sandbox.config(tmp_path / "amochats.db", **sections)
            channel = stack.enter_context(BlockingChannel(config))
            channel.connect(amochats_sandbox.account_id, title="Test")
            amochats_sandbox.webhooks_to(channel.listener_url)
            return channel

        yield make
