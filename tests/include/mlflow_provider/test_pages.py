import importlib
import re

import pytest

import include.mlflow_provider as provider

from .pages import PACKAGE, PAGES, filled

DOCS = PACKAGE / "docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_a_page_is_that_of_the_examples(page):
    assert filled(page.read_text()) == page.read_text()


def test_each_class_of_the_package_has_its_part_in_the_pages():
    titles = {
        title for page in DOCS.rglob("*.md") for title in re.findall(r"^## (\w+)$", page.read_text(), re.MULTILINE)
    }
    info = provider.get_provider_info()
    kinds = ("hooks", "operators", "sensors", "triggers")
    modules = {name for kind in kinds for modules in info[kind] for name in modules["python-modules"]}
    classes = {
        name
        for module in map(importlib.import_module, modules)
        for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__
        and re.match("MLflow|.*Operator$", name)
        and name[0] != "_"
    }
    assert classes <= titles, classes - titles
