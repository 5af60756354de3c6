"""Whatever is lost on the way, and whenever the daemon dies: no limit at a NAS is forgotten, and in the end it holds what is wanted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sekisho.enforce.nas import Book
from sekisho.model.nas import ErrorCause, RequestKind, RequestOutcome
from unit.enforce.lines import PACE, SLOW, SLOWER, line

CUSTOMERS = ("c-1", "c-2", "c-3")
NASES = ("bng-1", "bng-2")
LINES = [line(number, nas=NASES[number % 2], customer=CUSTOMERS[number % 3]) for number in range(1, 7)]

steps = st.lists(
    st.one_of(
        st.tuples(st.just("want"), st.sampled_from(CUSTOMERS), st.sampled_from([None, SLOW, SLOWER])),
        st.tuples(st.just("ask"), st.lists(st.sampled_from(["answered", "lost", "answer-lost"]), min_size=2, max_size=4), st.none()),
        st.tuples(st.just("start"), st.sampled_from(LINES), st.none()),
        st.tuples(st.just("stop"), st.sampled_from(LINES), st.none()),
        st.tuples(st.just("lose"), st.sampled_from(LINES), st.none()),
        st.tuples(st.just("resume"), st.sampled_from(LINES), st.none()),
        st.tuples(st.just("restart"), st.sampled_from(NASES), st.none()),
        st.tuples(
            st.just("ask"),
            st.lists(st.sampled_from(["answered", "refused", "prohibited", "unknown", "lost", "answer-lost"]), max_size=6),
            st.none(),
        ),
        st.tuples(st.just("crash"), st.lists(st.booleans(), max_size=6), st.none()),
        st.tuples(st.just("wait"), st.sampled_from([0.0, 15.0, 400.0]), st.none()),
    ),
    min_size=5,
    max_size=40,
)


class World:
    """Two NASes as they are, what is on disk, and the book that is to bring them together."""

    def __init__(self):
        self.now = 0.0
        self.live = {one.key: one for one in LINES}
        self.unheard = set()
        """Live sessions that nobody tells of any more."""
        self.limits = {}
        self.disk = {}
        self.wanted = {}
        self.book = self.fresh()

    def fresh(self):
        book = Book(dict.fromkeys(NASES, PACE), list(self.disk.values()))
        for customer in CUSTOMERS:
            book.want(customer, self.wanted.get(customer), self.of(customer), self.now)
        return book

    def of(self, customer):
        return [one for one in self.live.values() if one.customer == customer and one.key not in self.unheard]

    def told(self, customer):
        self.book.want(customer, self.wanted.get(customer), self.of(customer), self.now)

    def heard(self, one):
        if one.key in self.unheard:
            self.unheard.discard(one.key)
            self.book.resumed(one.key, self.now)
            self.told(one.customer)

    def write(self):
        kept, gone = self.book.changes()
        self.disk |= {one.target.key: one for one in kept}
        for key in gone:
            self.disk.pop(key, None)

    def carry_out(self, request):
        """The NAS does what it is asked. Whether it knows the session."""
        key = request.target.key
        if key not in self.live:
            return False
        if request.kind is RequestKind.LIMIT:
            self.limits[key] = request.limit
        else:
            self.limits.pop(key, None)
        return True

    def end(self, key):
        self.live.pop(key, None)
        self.limits.pop(key, None)
        self.unheard.discard(key)

    def step(self, what, one, other):
        if what == "want":
            self.wanted[one] = other
            self.told(one)
        elif what == "start":
            self.live[one.key] = one
            self.heard(one)
            self.book.started(one, self.now)
        elif what == "lose" and one.key in self.live:
            self.unheard.add(one.key)
            self.told(one.customer)
        elif what == "resume":
            self.heard(one)
        elif what == "stop":
            self.end(one.key)
            self.book.ended(one.key)
        elif what == "restart":
            for key in [key for key in self.live if key[0] == one]:
                self.end(key)
            self.book.restarted(one)
        elif what == "ask":
            self.ask(one)
        elif what == "crash":
            due = self.book.due(self.now)
            self.write()
            for request, arrives in zip(due, one, strict=False):
                if arrives:
                    self.carry_out(request)
            self.book = self.fresh()
        elif what == "wait":
            self.now += one

    def ask(self, fates=()):
        fates = iter(fates)
        due = self.book.due(self.now)
        self.write()
        self.nothing_is_forgotten()
        for request in due:
            fate = next(fates, "answered")
            known = fate in {"answered", "answer-lost"} and self.carry_out(request)
            if fate == "answered":
                gone = ErrorCause.NONE if known else ErrorCause.SESSION_CONTEXT_NOT_FOUND
                self.book.answered(request, RequestOutcome.ACKNOWLEDGED if known else RequestOutcome.REFUSED, gone, self.now)
            elif fate in {"lost", "answer-lost"}:
                self.book.answered(request, RequestOutcome.UNANSWERED, ErrorCause.NONE, self.now)
            else:
                cause = ErrorCause.ADMINISTRATIVELY_PROHIBITED if fate == "prohibited" else ErrorCause.OTHER
                self.book.answered(request, RequestOutcome.REFUSED, cause, self.now)
        return due

    def nothing_is_forgotten(self):
        for key, limit in self.limits.items():
            assert key in self.disk, (key, limit)
            if self.disk[key].certain:
                assert self.disk[key].limit == limit


@given(steps)
def test_no_limit_is_forgotten_and_in_the_end_each_line_has_what_is_wanted(told):
    world = World()
    for one in told:
        world.step(*one)
        world.write()
        world.nothing_is_forgotten()
    for _ in range(40):
        world.now += 400.0
        world.ask()
    assert world.book.idle()
    for key, one in world.live.items():
        wanted = world.wanted.get(one.customer) if key not in world.unheard else None
        assert world.limits.get(key) == (wanted and wanted.part(len(world.of(one.customer)))), key
    assert set(world.disk) == set(world.limits), "what is remembered is what is there"
