"""How a program is tested against the local amoCRM: `pip install pytest`, then `pytest`. No further setup."""

from collections.abc import Callable

import amochats
import amochats.sandbox


def test_the_manager_answers(
    amochats_sandbox: amochats.sandbox.Sandbox, amochats_channel: Callable[..., amochats.BlockingChannel]
) -> None:
    channel, anna = amochats_channel(), amochats.Sender("u-1", "Anna")
    message = amochats.NewMessage("c-1", "m-1", anna, amochats.Text("Is my order ready?"))
    sent = channel.outbox.wait(channel.send_message(amochats_sandbox.scope_id, message))
    assert sent.conversation_ref_id
    amochats_sandbox.answer(sent.conversation_ref_id, "It is.")
    event = next(channel.events("crm", create=True))
    assert isinstance(event, amochats.BlockingDeliveredMessage) and event.text == "It is."
    event.ack()
