from __future__ import annotations

from pathlib import Path

from eventrunner.local.ports import free_port


def test_a_port_is_handed_out_once_and_is_none_that_the_system_gives_away() -> None:
    ports = [free_port() for _ in range(500)]
    assert len(set(ports)) == len(ports)
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(ports) < lowest
