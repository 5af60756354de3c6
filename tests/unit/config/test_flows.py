"""The `flows:` section."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from sekisho.config.flows import FlowSettings
from sekisho.config.values import Endpoint


def test_a_bare_address_is_an_exporter_and_ports_have_their_defaults() -> None:
    found = FlowSettings.model_validate({"listen": "192.0.2.1", "listen_tcp": "[2001:db8::1]", "exporters": "192.0.2.254"})
    assert found.listen == (Endpoint("192.0.2.1", 2055),)
    assert found.listen_tcp == (Endpoint("2001:db8::1", 4739),)
    assert [str(one.address) for one in found.exporters] == ["192.0.2.254/32"]
    assert (found.exporters[0].sampling, found.interval) == (1.0, 10.0)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"listen": []}, "needs an address"),
        ({"exporters": []}, "at least 1"),
        ({"exporters": ["192.0.2.1", {"address": "192.0.2.1/32"}]}, "stands twice"),
        ({"exporters": [{"address": "192.0.2.1", "sampling": 0}]}, "one of how many packets"),
        ({"exporters": [{"address": "192.0.2.1", "customer_interfaces": [0]}]}, "ifIndex"),
        ({"exporters": [{"address": "192.0.2.1", "direction": "both"}]}, "ingress"),
        ({"interval": "10m"}, "1s to 5m"),
        ({"listen": "192.0.2.1:99999"}, "no port"),
    ],
)
def test_what_cannot_be_is_said(changed: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        FlowSettings.model_validate({"listen": "192.0.2.1", "exporters": ["192.0.2.254"]} | changed)
