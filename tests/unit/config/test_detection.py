"""The `detection:` section: what may stand in it, and what is told of what may not."""

from __future__ import annotations

import pytest

from sekisho.config.detection import Statistic
from sekisho.config.settings import parse_settings
from sekisho.model.errors import ConfigError

START = 'version: 1\nupstream: {address: "192.0.2.53"}\n'


def test_every_key_may_be_set():
    found = parse_settings(
        START
        + "detection: {window: 1m, windows: 10, sustained: 4, statistic: mean, factor: 12.5, floor: 50, usual: 0, by_address: false,\n"
        + "  release: 40%, clear: 5, urgent: false, load: {utilisation: 70%, timeouts: null, latency: 500ms, percentile: 0.5, release: 90%}}\n",
        "x",
    ).detection
    assert (found.window, found.windows, found.sustained, found.statistic) == (60.0, 10, 4, Statistic.MEAN)
    assert (found.factor, found.floor, found.usual, found.by_address) == (12.5, 50.0, 0.0, False)
    assert (found.release, found.clear, found.urgent) == (0.4, 5, False)
    load = found.load
    assert (load.utilisation, load.timeouts, load.latency, load.percentile, load.release) == (0.7, None, 0.5, 0.5, 0.9)


@pytest.mark.parametrize(
    ("keys", "path", "said"),
    [
        ("window: 500ms", "detection.window", "from 1s to 1h"),
        ("window: 2h", "detection.window", "from 1s to 1h"),
        ("windows: 65", "detection.windows", "64"),
        ("sustained: 0", "detection.sustained", "1"),
        ("windows: 3, sustained: 4", "detection", "sustained (4) is more than the windows there are (3)"),
        ("statistic: mode", "detection.statistic", "mean"),
        ("factor: 0", "detection.factor", "above 0"),
        ("factor: true", "detection.factor", "above 0"),
        ("floor: -1", "detection.floor", "above 0"),
        ("usual: -1", "detection.usual", "0 for none"),
        ("release: 150%", "detection.release", "share"),
        ("clear: 0", "detection.clear", "1"),
        ("load: {utilisation: null, timeouts: null, latency: null}", "detection", "nothing could ever be found"),
        ("load: {latency: 0s}", "detection.load.latency", "longer than 0s"),
        ("thresold: 1", "detection.thresold", ""),
    ],
)
def test_faults_say_where_and_what(keys, path, said):
    with pytest.raises(ConfigError) as caught:
        parse_settings(f"{START}detection: {{{keys}}}\n", "x")
    [fault] = caught.value.faults
    assert (fault.line, fault.path) == (3, path)
    assert said in fault.message
