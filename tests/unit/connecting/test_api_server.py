"""The API server's addresses are no broker's, however it is named."""

from ipaddress import ip_address

import pytest

from celeriac.brokers.dialing.dial import Dialer
from celeriac.brokers.dialing.policy import AddressPolicy
from celeriac.cluster.errors import ApiError, Unavailable
from celeriac.connecting.api_server import MOST, ApiServerAddresses

pytestmark = pytest.mark.unit


class Server:
    def __init__(self) -> None:
        self.reached: frozenset[str] = frozenset({"10.96.0.1"})
        self.advertised: frozenset[str] | ApiError = frozenset({"10.0.7.7"})

    def hosts(self) -> frozenset[str]:
        return self.reached

    async def advertised_hosts(self) -> frozenset[str]:
        if isinstance(self.advertised, ApiError):
            raise self.advertised
        return self.advertised


@pytest.fixture
async def dialer() -> Dialer:
    return Dialer(AddressPolicy(unix_sockets=True))


async def test_the_addresses_by_which_it_is_reached_and_those_it_tells_are_denied(dialer: Dialer) -> None:
    assert await ApiServerAddresses(Server(), dialer).learn()
    assert dialer.policy.api_server == {ip_address("10.96.0.1"), ip_address("10.0.7.7")}
    assert dialer.policy.unix_sockets


async def test_one_that_says_nothing_takes_away_nothing_that_was_known(dialer: Dialer) -> None:
    server = Server()
    addresses = ApiServerAddresses(server, dialer)
    await addresses.learn()
    server.advertised = Unavailable(0, "Timeout", "no answer")
    assert not await addresses.learn()
    assert dialer.policy.api_server == {ip_address("10.96.0.1"), ip_address("10.0.7.7")}


async def test_each_of_several_api_servers_tells_its_own_address_and_all_stay_denied(dialer: Dialer) -> None:
    server = Server()
    addresses = ApiServerAddresses(server, dialer)
    for number in (7, 8, 9, 7):
        server.advertised = frozenset({f"10.0.7.{number}"})
        assert await addresses.learn()
    assert dialer.policy.api_server == {ip_address(f"10.0.7.{number}") for number in (7, 8, 9)} | {
        ip_address("10.96.0.1")
    }


async def test_addresses_that_change_without_end_are_not_kept_without_end(dialer: Dialer) -> None:
    server = Server()
    addresses = ApiServerAddresses(server, dialer)
    for number in range(3 * MOST):
        server.advertised = frozenset({f"10.1.{number >> 8}.{number & 255}"})
        await addresses.learn()
    assert len(dialer.policy.api_server) <= MOST


async def test_a_host_by_its_name_is_looked_up(dialer: Dialer) -> None:
    server = Server()
    server.reached, server.advertised = frozenset({"localhost"}), frozenset()
    await ApiServerAddresses(server, dialer).learn()
    assert ip_address("127.0.0.1") in dialer.policy.api_server
    await dialer.close()


async def test_a_host_that_cannot_be_looked_up_hides_no_other(dialer: Dialer) -> None:
    server = Server()
    server.advertised = frozenset({"a..b"})
    assert not await ApiServerAddresses(server, dialer).learn()
    assert dialer.policy.api_server == {ip_address("10.96.0.1")}
