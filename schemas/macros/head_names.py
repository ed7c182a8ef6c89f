"""Names of heads, spelled as in the tables."""

from typing import Final

from schemas.relations import Macro, Parameter

MACRO: Final = Macro(
    "head_names",
    "A list of heads' names spelled as in heads.name: upper case, no leading zeros. What is no "
    "name stays as it is.",
    (Parameter("names", "Names of heads, in either case."),),
    (),
    "SELECT head_names(['l5h0', 'L05H1'])",
)
