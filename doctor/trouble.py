"""A trouble that a target has, and a question that could not be answered."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Weight(StrEnum):
    """How certain and how bad a trouble is; the order is that of the report.

    Attributes:
        SEEN: it happened: Docker or the kernel said so.
        TROUBLE: it is wrong, and will fail when it is used.
        ADVICE: worth knowing; it never changes the exit code.
    """

    SEEN = "seen"
    TROUBLE = "trouble"
    ADVICE = "advice"


@dataclass(frozen=True)
class Kind:
    """A trouble as such, without the place where it was found.

    Attributes:
        id: its stable name, by which programs and docs/doctor.md know it.
        weight: how certain and how bad it is, where nothing more is known.
        title: what is wrong, in one line.
        why: what happens because of it.
        mend: what to do about it.
    """

    id: str
    weight: Weight
    title: str
    why: str
    mend: str

    def here(
        self, cause: str, *, why: str = "", mend: str = "", weight: Weight | None = None
    ) -> Trouble:
        """Return a trouble of this kind; see :class:`Trouble`."""
        said = (cause, why or self.why, mend or self.mend)
        return Trouble(self.id, weight or self.weight, *said)


@dataclass(frozen=True)
class Trouble:
    """One thing that is wrong, for a reader.

    Attributes:
        id: its stable name, by which programs and docs/doctor.md know it.
        weight: how certain and how bad it is.
        cause: what is wrong here, in one line. Foreign text in it is printed escaped.
        why: what happens because of it.
        mend: what to do about it.
    """

    id: str
    weight: Weight
    cause: str
    why: str
    mend: str

    @property
    def is_advice(self) -> bool:
        """Whether it is no more than advice."""
        return self.weight is Weight.ADVICE


@dataclass(frozen=True)
class Unseen:
    """A question that has no answer.

    Attributes:
        what: what was to be found out.
        why: the reason why it was not.
        matters: whether the answer could have been a trouble, and not only advice.
    """

    what: str
    why: str
    matters: bool = True


@dataclass(frozen=True)
class Diagnosis:
    """What a target has, the most likely cause first, and what could not be seen."""

    troubles: tuple[Trouble, ...]
    unseen: tuple[Unseen, ...]

    @property
    def exit_code(self) -> int:
        """1 if a trouble is named, 3 if none is and one may be hidden, else 0."""
        if any(not each.is_advice for each in self.troubles):
            return 1
        return 3 if any(each.matters for each in self.unseen) else 0
