"""A way to the brokers of tests, which are on this machine: everywhere the operator would not go by itself."""

from celeriac.brokers.dialing.dial import Dialer
from celeriac.brokers.dialing.policy import EVERYWHERE

ALLOWED = ("--allow-broker-address", "127.0.0.0/8", "--allow-broker-address", "::1/128", "--allow-unix-sockets")
"""Flags of an operator that runs beside the servers of a test."""


def dialer() -> Dialer:
    """One that goes everywhere."""
    return Dialer(EVERYWHERE)
