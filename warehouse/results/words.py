"""Why a result is no longer current, in words: `option m 60 -> 40`, `pool general changed`."""

from collections.abc import Mapping
from typing import Any, Final

from schemas.kinds import Part
from schemas.text import how_many

# longer values are not shown
_SHOWN: Final = 40


def changed(part: Part, said: Any, now: Any) -> list[str]:
    """Return what has changed in one part of a claim, in words; nothing where it has not."""
    if said == now:
        return []
    if said is None or now is None:
        return [f"{part} {_name(said or now)}is {'gone' if now is None else 'new'}"]
    if part is Part.OPTIONS:
        return _options(said, now)
    if part in (Part.CONFIGURATION, Part.MODEL):
        return _configuration(part, said, now)
    if part is Part.PICTURES:
        return [_pictures(said["images"], now["images"])]
    if part is Part.OTHER:
        if said["digest"] == now["digest"]:
            return [f"configuration of scan {now['scan']} changed"]
        return [f"{_pictures(said['images'], now['images'])} in scan {now['scan']}"]
    if part is Part.POOL:
        gone = "is gone" if now["digest"] is None else "changed"
        return [f"pool {_one_name(said, now)} {gone}"]
    if part in (Part.BASIS, Part.CLASSIFIER):
        gone = "is gone" if now["claim"] is None else "was made anew"
        return [f"{part} {_one_name(said, now)} {gone}"]
    return ["labels or metadata changed" if part is Part.LABELS else f"{part} changed"]


def _name(value: Any) -> str:
    return f"{value['name']} " if isinstance(value, dict) and "name" in value else ""


def _one_name(said: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    old, new = said["name"], now["name"]
    return str(old) if old == new else f"{old} -> {new}"


def _options(said: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"option {name} {_change(said.get(name), now.get(name))}"
        for name in sorted({*said, *now})
        if said.get(name) != now.get(name)
    ]


def _configuration(part: Part, said: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    found = ["weights changed"] if said["weights"] != now["weights"] else []
    found += [
        f"{name} {_change(said[name], now[name])}"
        for name in ("layers", "precision")
        if said.get(name) != now.get(name)
    ]
    return found or [f"{part} of the scan changed"]


def _pictures(old: int, new: int) -> str:
    if new > old:
        return f"{how_many(new - old, 'new picture')}"
    return f"{how_many(old - new, 'picture')} fewer" if new < old else "other pictures"


def _change(old: Any, new: Any) -> str:
    shown = f"{old} -> {new}"
    return shown if len(shown) <= _SHOWN else "changed"
