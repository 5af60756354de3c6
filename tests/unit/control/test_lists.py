"""Lists of the running daemon: over-blocked names let through, versions held, what survives."""

from __future__ import annotations

import logging

import pytest
from structlog.testing import capture_logs

from sekisho.model.errors import ConfigError, RefusedError
from unit.control.sites import ACTOR, LISTS, SEALED, run, verdict


async def except_name(control, list_id, name, **more):
    return await control.add_exception(list_id, name, **({"subtree": False, "reason": "", "actor": ACTOR} | more))


def test_an_over_blocked_name_is_let_through_at_once_and_after_a_restart(folder):
    """`nbnet/21-2`: over-blocked names can be excepted at once."""

    async def scenario(control):
        answer = await except_name(control, "c2", "www.c2.example", reason="ticket 1")
        return answer, await verdict(control, "c-1", "www.c2.example"), await verdict(control, "c-1", "c2.example")

    answer, excepted, other = run(folder, scenario)
    assert (answer["in_force"], answer["held"]) == (True, True)
    assert excepted[0] == "answered"
    assert other[0] == "blocked"

    async def again(control):
        shown = await control.show_lists("c2")
        return await verdict(control, "c-1", "www.c2.example"), shown["lists"][0]["exceptions"]

    found, exceptions = run(folder, again)
    assert found[0] == "answered"
    assert [(one["name"], one["subtree"], one["reason"]) for one in exceptions] == [("www.c2.example", False, "ticket 1")]


def test_an_exception_reaches_no_further_than_it_says(folder):
    """`nbnet/21-2`: the scope is explicit, never widened."""

    async def scenario(control):
        await except_name(control, "c2", "a.c2.example")
        await except_name(control, "c2", "b.c2.example", subtree=True)
        names = ("a.c2.example", "x.a.c2.example", "b.c2.example", "x.b.c2.example")
        return [(await verdict(control, "c-1", name))[0] for name in names]

    assert run(folder, scenario) == ["answered", "blocked", "answered", "answered"]


def test_an_exception_taken_back_is_out_of_force_at_once(folder):
    async def scenario(control):
        await except_name(control, "c2", "c2.example")
        await control.remove_exception("c2", "c2.example", actor=ACTOR)
        with pytest.raises(RefusedError, match="no exception"):
            await control.remove_exception("c2", "c2.example", actor=ACTOR)
        return await verdict(control, "c-1", "c2.example")

    assert run(folder, scenario)[0] == "blocked"


PREFIXES = {"id": "c2", "category": "c2", "source": "c2.rpz", "format": "rpz", "zone": "feed.test"}


def test_an_exception_of_a_client_is_for_who_asks_from_there_alone_and_the_longest_prefix_counts(folder):
    folder.lists([PREFIXES, LISTS[1]])
    folder.write("c2.rpz", "$ORIGIN feed.test.\n24.0.2.0.192.rpz-client-ip CNAME .\n24.0.113.0.203.rpz-ip CNAME .\n")

    async def asked(control):
        found = []
        for last in (1, 2):
            body = await control.explain(customer=None, address=f"192.0.2.{last}", port=0, name="www.example", qtype="A", tcp=False)
            found.append(body["verdict"])
        return found

    async def scenario(control):
        seen = [await asked(control)]
        answers = [await except_name(control, "c2", name) for name in ("client 192.0.2.1", "203.0.113.7", "client 198.51.100.0/24")]
        seen.append(await asked(control))
        shown = (await control.show_lists("c2"))["lists"][0]["exceptions"]
        await control.remove_exception("c2", "32.1.2.0.192.rpz-client-ip", actor=ACTOR)
        seen.append(await asked(control))
        for wrong in ("client somebody", "1.2.rpz-ip"):
            with pytest.raises(RefusedError, match=r"`client 192\.0\.2\.7` for who asks from there"):
                await except_name(control, "c2", wrong)
        return seen, answers, shown

    seen, answers, shown = run(folder, scenario)
    assert seen == [["blocked", "blocked"], ["answered", "blocked"], ["blocked", "blocked"]]
    assert [one["held"] for one in answers] == [True, True, False]
    assert [one["name"] for one in shown] == ["client 192.0.2.1/32", "203.0.113.7/32", "client 198.51.100.0/24"]


@pytest.mark.usefixtures("own_process")
def test_a_sealed_lists_names_are_nowhere_whatever_is_done_with_them(folder, capfd, caplog):
    """`nbnet/42`: excepted, explained, refused and reloaded, the name stands in no answer, no log and no file."""
    answers = []

    async def scenario(control):
        answers.append(await verdict(control, "c-2", SEALED))
        answers.append(await control.explain(customer="c-2", address=None, port=0, name=SEALED, qtype="A", tcp=False))
        answers.append(await except_name(control, "csam", SEALED))
        answers.append(await verdict(control, "c-2", SEALED))
        with pytest.raises(RefusedError) as caught:
            await except_name(control, "csam", SEALED, reason=f"over-blocked: {SEALED.upper()}")
        answers.append(str(caught.value))
        with pytest.raises(RefusedError) as caught:
            await except_name(control, "csam", f"{SEALED}..")
        answers.append(str(caught.value))
        answers.append(await control.refresh_lists("csam", actor=ACTOR))
        answers.append(await control.reload(actor=ACTOR))
        answers.append(await control.show_lists("csam"))
        answers.append(await control.status())
        answers.append(await control.remove_exception("csam", SEALED, actor=ACTOR))

    with caplog.at_level(logging.DEBUG), capture_logs() as logs:
        run(folder, scenario)
    assert answers[0] == ("blocked", "csam", "nbnet/21-1")
    assert answers[3][0] == "answered"
    out = capfd.readouterr()
    mark = SEALED.split(".", maxsplit=1)[0]
    assert mark not in repr(answers) + repr(logs) + out.out + out.err + caplog.text
    for path in folder.path.rglob("*"):
        if path.is_file() and path.name != "csam.txt":
            assert mark.encode() not in path.read_bytes(), path


def test_a_version_that_lost_too_much_is_held_until_it_is_accepted(folder):
    async def scenario(control):
        folder.write("c2.txt", "bot.example.com\n")
        shown = (await control.refresh_lists("c2", actor=ACTOR))["lists"][0]
        held = await verdict(control, "c-1", "c2.example")
        answer = await control.accept_list("c2", actor=ACTOR)
        with pytest.raises(RefusedError, match="no version of list c2 is held"):
            await control.accept_list("c2", actor=ACTOR)
        return shown["held"], held, answer, await verdict(control, "c-1", "c2.example")

    held, before, answer, after = run(folder, scenario)
    assert (held["entries"], held["lost"]) == (1, 0.5)
    assert before[0] == "blocked"
    assert (answer["entries"], answer["in_force"]) == (1, True)
    assert after[0] == "answered"


def test_a_version_accepted_on_the_record_is_in_force_even_if_the_daemon_died_before_it_was_put_there(folder):
    async def scenario(control):
        folder.write("c2.txt", "bot.example.com\n")
        await control.refresh_lists("c2", actor=ACTOR)

        async def dies(definition, version):
            raise KeyboardInterrupt

        control.core.lists.accept = dies
        await control.accept_list("c2", actor=ACTOR)

    with pytest.raises(KeyboardInterrupt):
        run(folder, scenario)
    assert run(folder, lambda control: verdict(control, "c-1", "c2.example"))[0] == "answered"


def test_the_last_good_lists_are_in_force_without_any_feed(folder):
    run(folder, lambda control: control.status())
    (folder.path / "c2.txt").unlink()
    (folder.path / "csam.txt").unlink()

    async def scenario(control):
        found = await verdict(control, "c-1", "c2.example"), await verdict(control, "c-2", SEALED)
        return found, (await control.show_lists("c2"))["lists"][0]

    found, shown = run(folder, scenario)
    assert [one[0] for one in found] == ["blocked", "blocked"]
    assert shown["error"]
    assert shown["entries"] == 2


def test_a_list_file_changed_while_the_daemon_was_away_is_in_force_at_its_start(folder):
    run(folder, lambda control: control.status())
    folder.write("c2.txt", "c2.example\nbot.example.com\nnew.example\n")
    assert run(folder, lambda control: verdict(control, "c-1", "new.example"))[0] == "blocked"


def test_a_reload_with_faults_leaves_everything_as_it_was_and_is_told(folder):
    async def scenario(control):
        folder.lists([*LISTS, {"id": "c2", "category": "x"}])
        with pytest.raises(ConfigError):
            await control.reload(actor=ACTOR)
        status = await control.status()
        return await verdict(control, "c-1", "c2.example"), status["daemon"]["reload"]

    found, told = run(folder, scenario)
    assert found[0] == "blocked"
    assert told["failed"] is True
    assert told["faults"]


def test_a_reload_takes_other_terms_lists_and_customers_in_force_together(folder):
    async def scenario(control):
        folder.write("own.txt", "own.example\n")
        folder.lists([LISTS[1], {"id": "own", "category": "c2", "source": "own.txt", "format": "domains", "scope": "exact"}, LISTS[0]])
        folder.customers(
            [{"id": "c-1", "terms": ["nbnet"], "prefixes": ["192.0.2.1"]}, {"id": "c-2", "terms": "gunma", "prefixes": ["192.0.2.2"]}]
        )
        answer = await control.reload(actor=ACTOR)
        found = [await verdict(control, "c-1", name) for name in (SEALED, "c2.example", "own.example")]
        return answer, found

    answer, found = run(folder, scenario)
    assert answer["lists"] == ["csam", "own", "c2"]
    assert [one[0] for one in found] == ["blocked", "answered", "answered"]


def test_a_start_without_change_takes_the_saved_snapshot(folder, monkeypatch):
    run(folder, lambda control: control.status())
    from sekisho.app import control_inputs

    def no_build(*args, **kwargs):
        raise AssertionError("built anew")

    monkeypatch.setattr(control_inputs, "build", no_build)

    async def scenario(control):
        return await verdict(control, "c-1", "c2.example"), control.core.tables.published.epoch

    assert run(folder, scenario) == (("blocked", "c2", "gunma/別記-1"), 2)


def test_a_saved_snapshot_that_says_something_else_is_made_anew(folder, monkeypatch):
    run(folder, lambda control: control.status())
    saved = folder.path / "state" / "snapshot"
    saved.write_bytes(saved.read_bytes()[:-32] + b"0" * 32)
    from sekisho.app import control_inputs

    built = []
    make = control_inputs.build
    monkeypatch.setattr(control_inputs, "build", lambda *args, **kwargs: built.append(1) or make(*args, **kwargs))
    assert run(folder, lambda control: verdict(control, "c-1", "c2.example"))[0] == "blocked"
    assert built, "the saved one was taken"
    assert saved.read_bytes()[-32:] != b"0" * 32, "what is in force now is kept"


@pytest.mark.parametrize("damage", [b"", b"not a table", None])
def test_a_saved_snapshot_that_is_damaged_is_made_anew(folder, damage):
    run(folder, lambda control: control.status())
    saved = folder.path / "state" / "snapshot"
    data = bytearray(saved.read_bytes())
    data[-70] ^= 1
    saved.write_bytes(data if damage is None else damage)
    assert run(folder, lambda control: verdict(control, "c-1", "c2.example"))[0] == "blocked"
