"""``rain preferences``: what can be wanted."""

from __future__ import annotations

import json as json_module

from rain.cli import options


def preferences(json: options.Json = False) -> int:
    """List the built-in preferences and the evaluators each supports."""
    from rain.preferences import builtin_names, load

    found = [load(name) for name in builtin_names()]
    if json:
        rows = [
            {"name": p.name, "description": p.description, "evaluators": p.kinds, "default": p.default} for p in found
        ]
        print(json_module.dumps({"preferences": rows}, ensure_ascii=False))
        return 0
    for preference in found:
        print(f"{preference.name}: {preference.description}")
        print(f"    evaluators: {', '.join(preference.kinds)} (default {preference.default}, paper {preference.paper})")
    return 0
