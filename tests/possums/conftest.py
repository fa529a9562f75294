"""Tests of the possum problem, skipped when the project has another one."""

from __future__ import annotations

from include.problem import PROBLEM

collect_ignore_glob = [] if PROBLEM.name == "possum" else ["test_*.py"]
