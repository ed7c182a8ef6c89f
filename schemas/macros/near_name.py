"""The name most like one that is not there."""

from typing import Final

from schemas.relations import Macro, Parameter

MACRO: Final = Macro(
    "near_name",
    "The end of a complaint about a name that is not there: which of those that are is most like "
    "it (Jaro-Winkler similarity above 0.8, case aside); empty where none is.",
    (Parameter("got", "Name that is not there."), Parameter("known", "List of those that are.")),
    (),
    "SELECT near_name('colur', ['count', 'colour'])",
)
