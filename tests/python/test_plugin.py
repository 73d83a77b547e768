"""The pytest plugin, in runs of pytest of its users."""

import sys
from pathlib import Path

import amochats.sandbox
import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "python/examples/test_integration.py"


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.run(sys.executable, "-W", "error", "-m", "pytest", "-p", "no:cacheprovider", *arguments)


def test_the_example_passes_and_needs_no_setup(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_integration=EXAMPLE.read_text())
    run(pytester).assert_outcomes(passed=1)


def test_three_lines_test_an_integration(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import amochats
        def test_connects(amochats_sandbox):
            client = amochats.Client(amochats_sandbox.channel_id, amochats_sandbox.secret, base_url=amochats_sandbox.api)
            assert client.connect(amochats_sandbox.account_id, title="Shop").scope_id == amochats_sandbox.scope_id
        """
    )
    run(pytester).assert_outcomes(passed=1)


def test_each_test_has_its_own_and_it_ends_with_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import urllib.request
        seen = []
        def state(page):
            return urllib.request.urlopen(page + "/api/state", timeout=30).read().decode()
        def test_one(amochats_sandbox):
            seen.append((amochats_sandbox.page, amochats_sandbox.secret))
            assert amochats_sandbox.secret in state(amochats_sandbox.page)
            assert amochats_sandbox.chats() == []
        def test_two(amochats_sandbox):
            page, secret = seen[0]
            assert secret != amochats_sandbox.secret
            try:
                # Its port may be somebody else's by now.
                assert secret not in state(page)
            except OSError:
                pass
        """
    )
    run(pytester).assert_outcomes(passed=2)


def test_a_wrong_signature_of_the_users_program_fails_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import amochats
        def test_connects(amochats_sandbox):
            client = amochats.Client(amochats_sandbox.channel_id, "another-secret", base_url=amochats_sandbox.api)
            client.connect(amochats_sandbox.account_id, title="Shop")
        """
    )
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ForbiddenError*"])


def test_the_fixtures_are_listed_with_what_they_do(pytester: pytest.Pytester) -> None:
    run(pytester, "--fixtures").stdout.fnmatch_lines(["amochats_sandbox*", "*A local amoCRM of the test's own*"])


def test_a_sandbox_says_what_is_wrong() -> None:
    with pytest.raises(amochats.InvalidArgumentError, match="personality: must be"):
        amochats.sandbox.Sandbox(personality="us").open()  # type: ignore[arg-type]
    with pytest.raises(amochats.ConfigError), amochats.sandbox.Sandbox(api="192.0.2.1:1"):
        pass
    sandbox = amochats.sandbox.Sandbox()
    with pytest.raises(amochats.MisuseError, match="use it in a with"):
        _ = sandbox.api
    with sandbox:
        with pytest.raises(amochats.MisuseError):
            sandbox.open()
        with pytest.raises(amochats.InvalidArgumentError, match="webhook"):
            sandbox.webhooks_to("nowhere/:scope_id")
        assert repr(sandbox) == f"<Sandbox {sandbox.api}>" and sandbox.secret not in repr(sandbox)
    sandbox.close()
