"""The tree alone, fed with a recording of the released program's statistics code.

Another recording of the same form: RAIN_GOLDEN=/path/to/file.json pytest -k golden_tree
"""

from __future__ import annotations

import json
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rain.search.asks import Prefix
from rain.search.settings import Settings, changed
from rain.search.tree import Node, Tree

RECORDING = Path(os.environ.get("RAIN_GOLDEN") or Path(__file__).parent.parent / "golden" / "tree_statistics.json")


def close(value: float) -> Any:
    return pytest.approx(value, abs=1e-5)


def test_golden_tree_reaches_the_same_numbers_by_the_same_paths() -> None:
    recording = json.loads(RECORDING.read_text())
    settings = changed(
        Settings(),
        {
            "exploration": recording["c_puct"],
            "similarity_threshold": recording["similarity_threshold"],
            "similarity_discount": recording["similarity_discount"],
            "root_mixing": 0,
            "node_addition": "off",
        },
    )
    tree = Tree(Prefix((0,)), settings)
    assert recording["steps"]
    for step in recording["steps"]:
        path = [tree.root]
        while path[-1].expanded:
            child = tree.select_child(path[-1])
            assert child is not None
            path.append(child)
        leaf = path[-1]
        assert [list(node.tokens) for node in path[1:]] == step["selected"]
        if step["children"] and not leaf.expanded:
            children = [Node(Prefix(tuple(c["tokens"]), leaf.prefix), up=weakref.ref(leaf)) for c in step["children"]]
            tree.attach(leaf, children)
            for node, child in zip(children, step["children"], strict=True):
                node.prior = child["prior"]
        tree.back_up(path, step["value"], [np.array(e["vector"]) for e in step["embeddings"]])
        assert [(n.visits, n.real_visits, n.value) for n in path] == [
            (close(a["visits"]), a["real_visits"], close(a["value"])) for a in step["after"]
        ]
        assert (tree.low, tree.high) == (close(step["min_value"]), close(step["max_value"]))
    for node, child in zip(tree.root.children, recording["root_children"], strict=True):
        assert (list(node.tokens), node.real_visits) == (child["tokens"], child["real_visits"])
        assert (node.visits, node.value) == (close(child["visits"]), close(child["value"]))
    leader = tree.leader()
    assert leader is not None
    assert list(leader.tokens) == recording["chosen"]
