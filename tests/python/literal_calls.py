"""The three calls that a client in Python was promised, straight to a node over mutual TLS, and two controls.

Usage: literal_calls.py HOST:PORT NAME CONTEXT (the node, the name in its certificate, an operator's context)
"""

import sys
import time
import tomllib
import traceback

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.text_format import MessageToString
from pi.agent.v1.agent_pb2_grpc import NodeAgentStub
from pi.agent.v1.gpio_pb2 import HIGH, GPIORequest

SECONDS = 10  # of patience for one call


class Node:
    """A node, called with a context's roots and, if wanted, its certificate. Prints each call and its answer."""

    def __init__(self, address, name, context, certificate=True):
        credentials = grpc.ssl_channel_credentials(
            root_certificates=context["ca"].encode(),
            private_key=context["key"].encode() if certificate else None,
            certificate_chain=context["certificate"].encode() if certificate else None,
        )
        options = [("grpc.ssl_target_name_override", name)]
        self.stub = NodeAgentStub(grpc.secure_channel(address, credentials, options))

    def call(self, method, request):
        print(f"{method}({shown(request)})", end=" -> ", flush=True)
        try:
            answer = getattr(self.stub, method)(request, timeout=SECONDS)
        except grpc.RpcError as error:
            print(f"{error.code().name}: {error.details()}")
            raise
        print(shown(answer))
        return answer

    def refusal(self, method, request):
        """The status code that the call ends with."""
        try:
            self.call(method, request)
        except grpc.RpcError as error:
            return error.code()
        raise AssertionError(f"{method} was answered")


def shown(message):
    return MessageToString(message, as_one_line=True)


def health_check(node, _stranger):
    assert node.call("HealthCheck", Empty()).status == "OK"


def system_metrics(node, _stranger):
    deadline = time.monotonic() + SECONDS
    metrics = node.call("GetSystemMetrics", Empty())
    while not metrics.HasField("cpu_usage"):  # absent until the node has taken two samples
        assert time.monotonic() < deadline, "no cpu_usage came"
        time.sleep(0.2)
        metrics = node.call("GetSystemMetrics", Empty())
    assert abs(metrics.cpu_usage - 15.2) < 0.1, metrics.cpu_usage


def control_gpio(node, _stranger):
    assert node.call("ControlGPIO", GPIORequest(pin=18, state=HIGH)).success is True
    read = node.call("ControlGPIO", GPIORequest(pin=23))  # pi-sim has wired it to 18
    assert read.success is True and read.state == HIGH and read.raw_state == HIGH, read


def unknown_pin_is_not_found(node, _stranger):
    assert node.refusal("ControlGPIO", GPIORequest(pin=99)) == grpc.StatusCode.NOT_FOUND


def nobody_gets_in_without_a_certificate(_node, stranger):
    assert stranger.refusal("HealthCheck", Empty()) == grpc.StatusCode.UNAVAILABLE


CASES = [health_check, system_metrics, control_gpio, unknown_pin_is_not_found, nobody_gets_in_without_a_certificate]


def main(address, name, context):
    with open(context, "rb") as file:
        context = tomllib.load(file)
    node = Node(address, name, context)
    stranger = Node(address, name, context, certificate=False)
    failed = 0
    for case in CASES:
        try:
            case(node, stranger)
        except Exception:
            failed += 1
            print(f"FAILED {case.__name__}\n{traceback.format_exc()}")
    print(f"python: {len(CASES) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
