"""The macros of the published database: one module each, found here; each declares `MACRO`.

`warehouse/sql/macros/NAME.sql` is its text, and `warehouse/database/macros.py` puts the two
together. Helpers shared by several declarations stand in `schemas/relations.py`.
"""

import importlib
import pkgutil
from typing import Final

from schemas.relations import Macro


def _declared() -> tuple[Macro, ...]:
    found = []
    for module in pkgutil.iter_modules(__path__):
        macro: Macro = importlib.import_module(f"{__name__}.{module.name}").MACRO
        if macro.name != module.name:
            raise ValueError(f"{module.name}.py declares macro {macro.name!r}; name both alike")
        found.append(macro)
    return tuple(sorted(found, key=lambda m: (m.kind == "scalar", m.name)))


MACROS: Final = _declared()
"""Every macro: those that stand after FROM first, then those within an expression, by name."""
