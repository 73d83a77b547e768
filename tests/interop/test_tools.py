"""Tools that others wrote find their way by reflection and health, and read the details of errors."""

import json
import signal
import subprocess

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from conftest import PATIENCE, environment

SERVICES = [
    f"{name}Service" for name in ("Backfill", "Channel", "Inbox", "Media", "Outbox", "Webhook", "Widget")
]


def grpcurl(place, *args):
    command = ["grpcurl", "-plaintext", *args[:-1], place.grpc, *args[-1].split()]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)


def test_grpcurl_lists_and_describes_all_services(place):
    listed = grpcurl(place, "list").stdout.split()
    assert {f"amochats.v1.{name}" for name in SERVICES} | {"grpc.health.v1.Health"} <= set(listed)
    for service in listed:
        described = grpcurl(place, f"describe {service}")
        assert described.returncode == 0 and f"{service} is a service:" in described.stdout, described
    method = grpcurl(place, "describe amochats.v1.InboxService.StreamEvents").stdout
    assert "rpc StreamEvents ( stream .amochats.v1.StreamEventsRequest )" in method
    message = grpcurl(place, "describe amochats.v1.Subscribe").stdout
    assert ".google.protobuf.Duration lease = 3;" in message


def test_grpcurl_shows_the_details_of_an_error(place):
    ended = grpcurl(place, "-format-error", "-d", '{"scope": {}}', "amochats.v1.ChannelService/Connect")
    status = json.loads(ended.stderr[ended.stderr.index("{"):])
    found = {detail["@type"].rsplit(".", 1)[1]: detail for detail in status["details"]}
    assert found["ErrorInfo"]["reason"] == "INVALID_ARGUMENT" and found["ErrorInfo"]["domain"] == "amochats"
    assert found["BadRequest"]["fieldViolations"][0]["field"] == "scope.account_id"


def test_health_of_the_server_and_of_each_service(place):
    with grpc.insecure_channel(place.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ["", *(f"amochats.v1.{name}" for name in SERVICES)]:
            answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING, service
        with pytest.raises(grpc.RpcError) as refused:
            health.Check(health_pb2.HealthCheckRequest(service="amochats.v1.NoService"), timeout=60)
        assert refused.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_watcher_of_health_learns_of_the_stop_and_does_not_hold_it_up(place):
    with grpc.insecure_channel(place.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        watched = health.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
        assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
        place.signal_server(signal.SIGTERM)
        assert next(watched).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert list(watched) == []
        assert place.server_ended() == 0
    assert "not every call ended" not in place.server_log()


@pytest.mark.parametrize("language", ["python", "node"])
def test_the_details_of_an_error_name_the_field(language, place, run):
    client = run(language, "")
    client.lines.starting("connected")
    assert client.ended() == 1
    said = "\n".join(client.errors)
    assert said.startswith("INVALID_ARGUMENT INVALID_ARGUMENT: "), said
    assert client.errors[1].startswith("  message.content.text.text: "), said


@pytest.mark.parametrize("language", ["python", "node"])
def test_the_reason_of_the_vendor_is_told(language, place, run):
    client = run(language, "Hello", "00000000-0000-4000-8000-000000000000")
    assert client.ended() == 1
    assert client.errors[0].startswith("INVALID_ARGUMENT REJECTED: "), client.errors
    assert {"  http_status: 400", "  vendor_error_type: account_not_found"} <= set(client.errors)


@pytest.mark.parametrize("language", ["python", "node"])
def test_the_delay_that_the_vendor_asks_for_is_kept(language, place, run):
    rule = {"on": "api", "fault": "rate_limit", "value": 2, "only": "connect", "times": 1}
    place.control("PUT", "/api/faults", {"rules": [rule]})
    client = run(language, "Hello")
    client.lines.starting("connected", place.scope_id)
    assert client.errors == ["RESOURCE_EXHAUSTED, again in 2.0 s"]
    refused, taken = place.journal()[:2]
    assert (refused["status"], taken["status"], taken["kind"]) == (429, 200, "connect")
    assert taken["at_msec"] - refused["at_msec"] >= 2000
