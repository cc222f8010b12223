"""Word lists of the facts: English, lower-case, as tokens (an apostrophe splits a word)."""

from __future__ import annotations

STOP_WORDS = frozenset(
    """
    a an and are as at be been but by for from had has have he her his i in is it its my not of on or
    our she so than that the their them they this to was we were what which who will with would you your
    s t n do does did if no there about up out into over after
    """.split()  # noqa: SIM905  (a list of so many words is read by nobody)
)
PRONOUNS = frozenset(
    """
    he she it they him her them his their its
    """.split()  # noqa: SIM905  (a list of so many words is read by nobody)
)
FIRST_PERSON = frozenset(
    """
    i me my mine we us our
    """.split()  # noqa: SIM905  (a list of so many words is read by nobody)
)
SECOND_PERSON = frozenset(
    """
    you your yours
    """.split()  # noqa: SIM905  (a list of so many words is read by nobody)
)
DANGLING = frozenset(
    """
    and or but of the a an to in on at for with by from as that which is are was were
    """.split()  # noqa: SIM905  (a list of so many words is read by nobody)
)
NEGATIONS = frozenset(
    """
    not no never t without neither nor none cannot
    """.split()  # noqa: SIM905  (a list of so many words is read by nobody)
)
