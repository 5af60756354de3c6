"""The operations of the API, carried out on the core: the one place that says which module does what."""

from __future__ import annotations

import asyncio
from typing import Any

from sekisho.app import (
    control_audit,
    control_customers,
    control_exceptions,
    control_feeds,
    control_groups,
    control_line_bodies,
    control_nas_show,
    control_optouts,
    control_policyconfig,
    control_policyshow,
    control_reload,
)
from sekisho.app.control_core import Core
from sekisho.app.control_directory import first_address
from sekisho.app.control_explain import answer_lists, explanation_body, question_name, question_type, source_address
from sekisho.app.control_matches import retentions
from sekisho.app.control_measure_operations import MeasureControl
from sekisho.app.control_notice_operations import NoticeControl
from sekisho.app.control_overload import standing_body
from sekisho.app.control_session_operations import SessionControl
from sekisho.app.control_status import Plane, lists, status
from sekisho.app.control_usage import line_body, usage_body
from sekisho.lists.idn import to_text
from sekisho.model.errors import RefusedError, TableError, UnavailableError
from sekisho.model.events import Match

Json = dict[str, Any]


class Control(MeasureControl, NoticeControl, SessionControl):
    """Implements `sekisho.api.operations.Operations`."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def status(self) -> Json:
        return status(self._core)

    async def add_opt_out(self, customer: str, list_id: str, *, until: float | None, by: str | None, actor: str) -> Json:
        return await control_optouts.add(self._core, customer, list_id, until, by, actor)

    async def remove_opt_out(self, customer: str, list_id: str, *, by: str | None, actor: str) -> Json:
        return await control_optouts.remove(self._core, customer, list_id, by, actor)

    async def show_opt_outs(self, customer: str | None, list_id: str | None) -> Json:
        return control_optouts.show(self._core, customer, list_id)

    async def show_customers(self, *, after: str | None, limit: int) -> Json:
        return control_customers.page(self._core, after, limit)

    async def show_customer(self, customer: str) -> Json:
        return control_customers.show(self._core, customer)

    async def add_customer(self, record: Json | str, *, replace: bool, actor: str) -> Json:
        return await control_customers.add(self._core, record, replace, actor)

    async def remove_customer(self, customer: str, *, actor: str) -> Json:
        return await control_customers.remove(self._core, customer, actor)

    async def show_lists(self, list_id: str | None) -> Json:
        only = self._core.people.definition(list_id) if list_id is not None else None
        return {"lists": lists(self._core, Plane(self._core), self._core.clock(), only)}

    async def refresh_lists(self, list_id: str | None, *, actor: str) -> Json:
        return await control_feeds.refresh(self._core, list_id, actor)

    async def accept_list(self, list_id: str, *, actor: str) -> Json:
        return await control_feeds.accept(self._core, list_id, actor)

    async def add_exception(self, list_id: str, name: str, *, subtree: bool, reason: str, actor: str) -> Json:
        return await control_exceptions.add(self._core, list_id, name, subtree, reason, actor)

    async def remove_exception(self, list_id: str, name: str, *, actor: str) -> Json:
        return await control_exceptions.remove(self._core, list_id, name, actor)

    async def explain(self, *, customer: str | None, address: str | None, port: int, name: str, qtype: str, tcp: bool) -> Json:
        core = self._core
        wire, number = question_name(name), question_type(qtype)
        if customer is not None:
            found = first_address(core.sessions.prefixes_of(core.people.get(customer).id))
            if found is None:
                raise RefusedError(f"customer {customer} has no address of its own now; ask by --address, or give it a prefix")
            source = found
        else:
            source = source_address(address or "")
        try:
            explanation = await asyncio.to_thread(core.reader.explain, source, port, wire, number, tcp)
        except TableError as error:
            raise UnavailableError(f"the plane's tables cannot be read ({error}); see the daemon's log") from error
        who = core.people.find(explanation.customer) if explanation.customer else None
        reaches = core.people.reaches(who, core.clock()) if who is not None else []
        enforcement = core.tables.enforcements.of(explanation.customer or "")
        judging = answer_lists(reaches, lambda list_id: core.lists.compiled(core.people.definition(list_id)))
        return explanation_body(explanation, source, core.site.packs, reaches, enforcement, judging)

    async def explain_measure(self, *, customer: str) -> Json:
        return standing_body(self._core, customer)

    async def show_group(self, group: str) -> Json:
        return control_groups.show(self._core, group)

    async def opt_group_out(self, group: str, list_id: str, *, until: float | None, by: str, actor: str) -> Json:
        return await control_groups.opt_out(self._core, group, list_id, until, by, actor)

    async def opt_group_in(self, group: str, list_id: str, *, by: str, actor: str) -> Json:
        return await control_groups.opt_in(self._core, group, list_id, by, actor)

    async def explain_line(self, *, customer: str) -> Json:
        return line_body(self._core, customer, self._core.clock())

    async def show_usage(self, *, customer: str) -> Json:
        return usage_body(self._core, customer)

    async def events(self, *, customer: str | None, list_id: str | None, since: float | None, limit: int) -> Json:
        core = self._core
        await core.recorder.drain(retentions(core.site.packs.values(), core.site.settings.retention), everything=True)
        found = await core.matches.newest(customer=customer, list_id=list_id, since=since, limit=limit)
        return {"events": [self._event(match) for match in found], "known": core.people.is_known(customer)}

    async def audit_events(self, *, after: int, limit: int, customer: str | None) -> Json:
        return await control_audit.events(self._core, after, limit, customer)

    async def show_nas(self, nas: str | None, *, limit: int) -> Json:
        return control_nas_show.show(self._core, nas, limit)

    async def backup(self, folder: str, *, actor: str) -> Json:
        return await control_audit.backup(self._core, folder, actor)

    async def reload(self, *, actor: str) -> Json:
        return await control_reload.reload(self._core, actor)

    async def show_lines(self, customer: str | None, *, limit: int) -> Json:
        return await control_line_bodies.show(self._core, customer, limit)

    async def show_flows(self) -> Json:
        return self._core.flows.body()

    async def show_policy_zones(self) -> Json:
        return control_policyshow.show(self._core)

    async def policy_zone_configuration(
        self,
        resolver: str,
        *,
        part: str,
        secondary: str | None,
        primary: str | None,
        key_file: str | None,
        folder: str | None,
        clients: str | None,
    ) -> Json:
        return control_policyconfig.configuration(
            self._core, resolver, part=part, secondary=secondary, primary=primary, key_file=key_file, folder=folder, clients=clients
        )

    async def export_policy_zones(self, folder: str, zone: str | None, *, addresses: bool, actor: str) -> Json:
        del actor  # nothing is recorded
        return await control_policyshow.export(self._core, folder, zone, addresses=addresses)

    def _event(self, match: Match) -> Json:
        return {
            "at": match.at,
            "customer": match.customer,
            "clause": match.clause,
            "list": match.list,
            "entry": match.entry,
            "name": self._entry_name(match),
            "action": match.action,
            "count": match.count,
        }

    def _entry_name(self, match: Match) -> str | None:
        """The entry's name, from the list as it is now; of a sealed list never, and it is kept nowhere."""
        definition = next((one for one in self._core.people.lists if one.id == match.list), None)
        if definition is None or definition.sealed:
            return None
        compiled = self._core.lists.compiled(definition)
        row = compiled.find(int(match.entry[:16], 16), int(match.entry[16:], 16))
        name = compiled.name(row) if row is not None else b""
        return to_text(name) if name else None
