"""``python -m amochats``: sign, verify and parse at the terminal, and a local amoCRM."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import amochats

from . import _amochats
from .exceptions import (
    AmochatsError,
    ConfigError,
    InvalidArgumentError,
    MalformedWebhookError,
    MisuseError,
    SignatureError,
)

OK, NO, USAGE, FAILED = range(4)
_BODY_MAX = 64 << 20
_SECRET_MAX = 4096
_CODES = """\
exit codes:
  0  ok
  1  the answer is no: a signature is not genuine, a webhook is not JSON
  2  wrong usage: a flag, a secret or another argument cannot be used
  3  could not be done: a file or standard input cannot be read, output cannot be written
"""


class _Ended(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # What stands where nothing belongs may be a secret whose flag was mistyped.
        if message.startswith("unrecognized arguments"):
            message = "there are arguments that are not known (not shown, they may be secrets)"
        raise _Ended(USAGE, f"{message}; try --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code."""
    try:
        options = _parser().parse_args(arguments)
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except _Ended as ended:
        code, said = ended.code, str(ended)
    except (InvalidArgumentError, ConfigError, MisuseError, ImportError) as error:
        # The flag is right; the machine did not let it be done.
        code, said = FAILED if isinstance(error.__cause__, OSError) else USAGE, str(error)
    except (SignatureError, MalformedWebhookError) as error:
        code, said = NO, str(error)
    except BrokenPipeError:
        # Whoever reads has enough; the interpreter must not try to flush once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (AmochatsError, OSError) as error:
        code, said = FAILED, str(error)
    print(f"amochats: {said}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m amochats",
        description="The chat channel of amoCRM and Kommo: sign, verify and parse what goes over the wire.",
        epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"amochats {amochats.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(of: "argparse._SubParsersAction[_Parser]", name: str, run: object, says: str) -> _Parser:
        made = of.add_parser(name, help=says[0].lower() + says[1:], description=f"{says}.", allow_abbrev=False)
        made.set_defaults(run=run)
        return made

    sign = command(commands, "sign", None, "Sign a body or a request")
    forms = sign.add_subparsers(metavar="FORM", required=True)
    body = command(forms, "body", _sign_body, "Sign standard input alone, as webhooks are signed")
    _secrets(body)
    request = command(forms, "request", _sign_request, "Print the headers of a request, its body on standard input")
    request.add_argument("--method", required=True, help="the HTTP method")
    request.add_argument("--path", required=True, help="the path, without scheme and host; a query is not signed")
    request.add_argument("--date", help="the Date header, signed as it is written (default: now)")
    request.add_argument(
        "--content-type", default="application/json", metavar="TYPE", help="the Content-Type (default: %(default)s)"
    )
    _secrets(request)

    verify = command(commands, "verify", _verify, "Check the signature of a webhook on standard input")
    verify.add_argument(
        "--signature", required=True, metavar="HEX", help="the X-Signature header; empty if there was none"
    )
    verify.add_argument("--expired-secret", action="append", default=[], metavar="SECRET", help="one that was current once")
    verify.add_argument("--json", action="store_true", help="print valid, verdict and reason as JSON")
    _secrets(verify)

    command(commands, "parse", _parse, "Print what a webhook on standard input says, as one line of JSON")

    sandbox = command(commands, "sandbox", _sandbox, "Play amoCRM on this machine until SIGINT or SIGTERM")
    sandbox.add_argument("--api", metavar="ADDR", help="where the chats API listens (default: 127.0.0.1:0)")
    sandbox.add_argument("--page", metavar="ADDR", help="where the manager's page listens (default: 127.0.0.1:0)")
    sandbox.add_argument("--channel", metavar="ID", help="the channel's id; made up if absent")
    sandbox.add_argument("--account", action="append", default=[], metavar="ID", help="an account; may be repeated")
    sandbox.add_argument("--webhook-url", metavar="URL", help="where webhooks go, with :scope_id in its place")
    sandbox.add_argument("--personality", choices=["ru", "kommo", "gen1"], default="ru", help="whose habits it has")
    sandbox.add_argument("--strict", action="store_true", help="refuse what is not promised to be taken")
    sandbox.add_argument("--state", metavar="FILE", help="where chats outlive the sandbox")
    sandbox.add_argument("--seed", type=int, metavar="N", help="make all ids the same in every run")
    _secrets(sandbox)
    return parser


def _secrets(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--secret",
        action="append",
        default=[],
        help="the channel's secret; others on this machine see arguments: prefer --secret-file or AMOCHATS_SECRET",
    )
    parser.add_argument(
        "--secret-file", action="append", default=[], type=Path, metavar="FILE", help="a file with the secret"
    )


def _all_secrets(options: argparse.Namespace) -> list[str]:
    found = [*options.secret, *(_secret_in(file) for file in options.secret_file)]
    variable = os.environ.get("AMOCHATS_SECRET")
    if not found and variable is not None:
        found = [variable]
    return found


def _secret_in(file: Path) -> str:
    with file.open("rb") as opened:
        text = opened.read(_SECRET_MAX + 1)
    if len(text) > _SECRET_MAX:
        raise _Ended(USAGE, f"{file} is larger than a secret: name the file that holds only the secret")
    try:
        return text.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise _Ended(USAGE, f"the secret file {file} is not UTF-8 text: save it as plain text") from None


def _several(options: argparse.Namespace) -> list[str]:
    secrets = _all_secrets(options)
    if not secrets:
        said = "there is no channel secret: give --secret-file FILE, set AMOCHATS_SECRET, or give --secret SECRET"
        raise _Ended(USAGE, said)
    return secrets


def _one(options: argparse.Namespace) -> str:
    secrets = _several(options)
    if len(secrets) > 1:
        raise _Ended(USAGE, "more than one channel secret is given: this command takes one")
    return secrets[0]


def _body() -> bytes:
    body = sys.stdin.buffer.read(_BODY_MAX + 1)
    if len(body) > _BODY_MAX:
        raise _Ended(FAILED, "the body on standard input is larger than 64 MiB: pass a smaller one")
    return body


def _sign_body(options: argparse.Namespace) -> int:
    print(amochats.sign_body(_one(options), _body()))
    return OK


def _sign_request(options: argparse.Namespace) -> int:
    headers = amochats.sign_request(
        _one(options),
        options.method,
        options.path,
        _body(),
        date=options.date,
        content_type=options.content_type,
    )
    print(json.dumps(headers))
    return OK


def _verify(options: argparse.Namespace) -> int:
    found = amochats.diagnose_signature(
        _several(options), _body(), options.signature or None, expired=options.expired_secret
    )
    valid = found.name == "valid"
    if options.json:
        print(json.dumps({"valid": valid, "verdict": found.name, "reason": found.sentence}))
    elif valid:
        print(found.sentence)
    else:
        raise _Ended(NO, found.sentence)
    return OK if valid else NO


def _parse(_options: argparse.Namespace) -> int:
    event = _amochats.webhook_json(_body())
    sys.stdout.buffer.write(event + b"\n")
    return OK


def _sandbox(options: argparse.Namespace) -> int:
    from .sandbox import Sandbox

    secret = _one(options) if _all_secrets(options) else None
    ends = {signal.SIGINT, signal.SIGTERM}
    # Before the sandbox starts its threads, which take this over.
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with Sandbox(
        api=options.api,
        page=options.page,
        channel_id=options.channel,
        secret=secret,
        accounts=options.account,
        webhook_url=options.webhook_url,
        personality=options.personality,
        strict=options.strict,
        state=options.state,
        seed=options.seed,
    ) as sandbox:
        print(json.dumps(sandbox.ready), flush=True)
        signal.sigwait(ends)
        # A second one ends it at once.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ends)
    return OK


if __name__ == "__main__":
    sys.exit(main())
