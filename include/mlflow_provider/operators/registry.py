"""Operators for MLflow's model registry.

All take ``mlflow_conn_id``, the Airflow connection of the MLflow server, and ``name``, the registered model; operators
for one version take its number as ``version``. Tags are ``[{"key": key, "value": value}]``. All raise
:class:`MLflowAPIError` if the entity does not exist or the server refuses the request.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from ..hooks.values import check_alias
from ..links import MLflowLink

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ..hooks.client import MLflowClientHook


class _RegistryOperator(BaseOperator):
    """An operator for the model registry of one connection."""

    template_fields: Sequence[str] = ("name",)
    operator_extra_links = (MLflowLink(),)
    ui_color = "#f4a460"
    mlflow_page = ""

    def __init__(self, *, mlflow_conn_id: str = "mlflow_default", name: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mlflow_conn_id = mlflow_conn_id
        self.name = name

    @cached_property
    def hook(self) -> MLflowClientHook:
        from ..hooks.client import MLflowClientHook  # imports requests, which would slow down DAG parsing

        return MLflowClientHook(mlflow_conn_id=self.mlflow_conn_id)

    def link(self, *path: str) -> None:
        """Link the task to a page of the model registry."""
        self.mlflow_page = self.hook.server.page("models", *path)

    def answer(self, version: dict[str, Any]) -> dict[str, Any]:
        """Link the task to a version, and return it in the form of 1.1.0."""
        self.link(version["name"], "versions", version["version"])
        return {"model_version": version}


class _VersionOperator(_RegistryOperator):
    """An operator for one version of a registered model."""

    template_fields: Sequence[str] = ("name", "version")

    def __init__(self, *, version: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.version = version


class CreateRegisteredModelOperator(_RegistryOperator):
    """Creates a registered model and returns ``{"registered_model": {...}}``.

    :param exist_ok: return an existing model unchanged instead of failing
    """

    template_fields: Sequence[str] = ("name", "tags", "description")
    template_fields_renderers = {"tags": "json"}

    def __init__(
        self,
        *,
        tags: list[dict[str, str]] | None = None,
        description: str | None = None,
        exist_ok: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tags = tags
        self.description = description
        self.exist_ok = exist_ok

    def execute(self, context: Context) -> dict[str, Any]:
        model = self.hook.create_registered_model(self.name, self.tags, self.description, self.exist_ok)
        self.link(self.name)
        return {"registered_model": model}


class GetRegisteredModelOperator(_RegistryOperator):
    """Returns a registered model as ``{"registered_model": {...}}``."""

    def execute(self, context: Context) -> dict[str, Any]:
        model = self.hook.get_registered_model(self.name, missing_ok=False)
        self.link(self.name)
        return {"registered_model": model}


class DeleteRegisteredModelOperator(_RegistryOperator):
    """Deletes a registered model with all its versions; returns nothing.

    :param missing_ok: succeed if the model does not exist, so that the task can run again
    """

    def __init__(self, *, missing_ok: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.missing_ok = missing_ok

    def execute(self, context: Context) -> None:
        self.hook.delete_registered_model(self.name, missing_ok=self.missing_ok)
        self.link()


class GetLatestModelVersionsOperator(_RegistryOperator):
    """Returns the newest version of each stage as ``{"model_versions": [{...}]}``, or ``{}`` if there is none.

    MLflow deprecates stages in favour of aliases.

    :param stages: such as ``["Production"]``; every stage, ``None`` included, by default
    """

    template_fields: Sequence[str] = ("name", "stages")

    def __init__(self, *, stages: list[str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stages = stages

    def execute(self, context: Context) -> dict[str, Any]:
        versions = self.hook.get_latest_versions(self.name, self.stages)
        self.link(self.name)
        return {"model_versions": versions} if versions else {}


class CreateModelVersionOperator(_RegistryOperator):
    """Registers a model as the next version of a registered model; returns ``{"model_version": {...}}``.

    :param source: URI of the model's artifacts, such as ``models:/m-1f0c...``
    :param run_link: URL of the run, if another MLflow server holds it
    :param model_id: the logged model of MLflow 3; read from ``source`` if that names one
    :param exist_ok: return an existing version of the same name, source and run, so that the task can run again
    """

    template_fields: Sequence[str] = ("name", "source", "run_id", "tags", "run_link", "description", "model_id")
    template_fields_renderers = {"tags": "json"}

    def __init__(
        self,
        *,
        source: str,
        run_id: str | None = None,
        tags: list[dict[str, str]] | None = None,
        run_link: str | None = None,
        description: str | None = None,
        model_id: str | None = None,
        exist_ok: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.run_id = run_id
        self.tags = tags
        self.run_link = run_link
        self.description = description
        self.model_id = model_id
        self.exist_ok = exist_ok

    def execute(self, context: Context) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in self.template_fields}
        return self.answer(self.hook.create_model_version(**fields, exist_ok=self.exist_ok))


class GetModelVersionOperator(_VersionOperator):
    """Returns one version of a registered model as ``{"model_version": {...}}``."""

    def execute(self, context: Context) -> dict[str, Any]:
        return self.answer(self.hook.get_model_version(self.name, self.version))


class DeleteModelVersionOperator(_VersionOperator):
    """Deletes one version of a registered model; returns nothing.

    :param missing_ok: succeed if the version does not exist, so that the task can run again
    """

    def __init__(self, *, missing_ok: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.missing_ok = missing_ok

    def execute(self, context: Context) -> None:
        self.hook.delete_model_version(self.name, self.version, missing_ok=self.missing_ok)
        self.link(self.name)


class TransitionModelVersionStageOperator(_VersionOperator):
    """Moves a model version to a stage and sets an alias; returns ``{"model_version": {...}}``.

    Nothing changes if MLflow would refuse the stage or the alias.

    :param stage: ``Staging``, ``Production``, ``Archived`` or ``None``
    :param archive_existing_versions: archive the versions that are in this stage now
    :param alias: alias to set to this version; MLflow 3 replaces stages with aliases
    """

    template_fields: Sequence[str] = ("name", "version", "alias")

    def __init__(
        self, *, stage: str, archive_existing_versions: bool | None = False, alias: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.stage = stage
        self.archive_existing_versions = archive_existing_versions
        self.alias = alias

    def execute(self, context: Context) -> dict[str, Any]:
        if self.alias:
            check_alias(self.alias)
        archive = bool(self.archive_existing_versions)
        version = self.hook.transition_model_version_stage(self.name, self.version, self.stage, archive)
        if self.alias:
            self.hook.set_registered_model_alias(self.name, self.alias, self.version)
        return self.answer(version)


class SetRegisteredModelAliasOperator(_VersionOperator):
    """Sets or moves an alias to a model version, and returns ``{"model_version": {...}}``."""

    template_fields: Sequence[str] = ("name", "alias", "version")

    def __init__(self, *, alias: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alias = alias

    def execute(self, context: Context) -> dict[str, Any]:
        self.hook.set_registered_model_alias(self.name, self.alias, self.version)
        return self.answer(self.hook.get_model_version(self.name, self.version))


class DeleteRegisteredModelAliasOperator(_RegistryOperator):
    """Deletes an alias, if it exists; returns nothing."""

    template_fields: Sequence[str] = ("name", "alias")

    def __init__(self, *, alias: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alias = alias

    def execute(self, context: Context) -> None:
        self.hook.delete_registered_model_alias(self.name, self.alias)
        self.link(self.name)


class SetModelVersionTagOperator(_VersionOperator):
    """Sets or replaces a tag of a model version, as text; returns nothing."""

    template_fields: Sequence[str] = ("name", "version", "key", "value")

    def __init__(self, *, key: str, value: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.key = key
        self.value = value

    def execute(self, context: Context) -> None:
        self.hook.set_model_version_tag(self.name, self.version, self.key, self.value)
        self.link(self.name, "versions", str(self.version))


class SearchModelVersionsOperator(_RegistryOperator):
    """Returns the versions of a registered model that match, newest first, as ``{"model_versions": [{...}]}``.

    :param filter_string: such as ``tags.checked = 'yes'``; all versions by default
    """

    template_fields: Sequence[str] = ("name", "filter_string")

    def __init__(self, *, filter_string: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filter_string = filter_string

    def execute(self, context: Context) -> dict[str, Any]:
        versions = self.hook.search_versions_of(self.name, self.filter_string)
        self.link(self.name)
        return {"model_versions": versions}


class CopyModelVersionOperator(_RegistryOperator):
    """Copies a version with its description to another model; returns ``{"model_version": {...}}``.

    The model is created if it does not exist. From another server the files are copied too, and compared by SHA-256.

    :param model_uri: version to copy: ``models:/name/3`` or ``models:/name@alias``
    :param exist_ok: return an existing copy of this version, so that the task can run again
    :param tags: of the copy; those of the original if None
    :param source_conn_id: Airflow connection of the version's server, if it is another
    :param aws_conn_id: Airflow connection of models in S3
    """

    template_fields: Sequence[str] = ("name", "model_uri", "tags", "source_conn_id")

    def __init__(
        self,
        *,
        model_uri: str,
        exist_ok: bool = False,
        tags: Mapping[str, Any] | None = None,
        source_conn_id: str | None = None,
        aws_conn_id: str | None = "aws_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model_uri = model_uri
        self.exist_ok = exist_ok
        self.tags = tags
        self.source_conn_id = source_conn_id
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        from ..hooks.pyfunc import MLflowPyfuncHook

        if not self.source_conn_id:
            return self.answer(self.hook.copy_model_version(self.model_uri, self.name, self.exist_ok, self.tags))
        target = MLflowPyfuncHook(self.mlflow_conn_id, self.aws_conn_id)
        source = MLflowPyfuncHook(self.source_conn_id, self.aws_conn_id)
        return self.answer(target.copy_model_version(source, self.model_uri, self.name, self.exist_ok, self.tags))


class ValidateModelVersionOperator(_VersionOperator):
    """Fails without retries if a metric of a version is missing or outside its limits.

    It returns ``{"model_version": {...}, "metrics": {...}}``. Metrics of the model itself take precedence over those
    of its run.

    :param at_least: lower limits, inclusive, such as ``{"r2": 0.5}``
    :param at_most: upper limits, inclusive, such as ``{"rmse": 1.5}``
    """

    template_fields: Sequence[str] = ("name", "version", "at_least", "at_most")

    def __init__(
        self, *, at_least: Mapping[str, float] | None = None, at_most: Mapping[str, float] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.at_least = at_least or {}
        self.at_most = at_most or {}

    def execute(self, context: Context) -> dict[str, Any]:
        answer = self.answer(self.hook.get_model_version(self.name, self.version))
        names = {*self.at_least, *self.at_most}
        metrics = {name: self.hook.get_model_version_metric(answer["model_version"], name) for name in names}
        values = {name: math.nan if value is None else value for name, value in metrics.items()}  # NaN meets no limit
        low = [f"{name} at least {limit}" for name, limit in self.at_least.items() if not values[name] >= float(limit)]
        high = [f"{name} at most {limit}" for name, limit in self.at_most.items() if not values[name] <= float(limit)]
        if low or high:
            wanted = ", ".join(low + high)
            raise AirflowFailException(f"Version {self.version} of {self.name!r} has {metrics}, wanted: {wanted}")
        return {**answer, "metrics": metrics}


class PruneModelVersionsOperator(_RegistryOperator):
    """Deletes old versions of a registered model, and returns their numbers, newest first.

    Versions with an alias or in the stage Staging or Production stay, and so do all logged models.

    :param keep: number of newest versions to keep, at least 1
    :param preview: only return what would be deleted
    """

    template_fields: Sequence[str] = ("name", "keep", "preview")

    def __init__(self, *, keep: int | str, preview: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.keep = keep
        self.preview = preview

    def execute(self, context: Context) -> list[str]:
        is_dry = str(self.preview).lower() not in ("false", "0", "no", "none", "")
        pruned = self.hook.prune_model_versions(self.name, self.keep, dry_run=is_dry)
        self.log.info("%s %s", "Would delete" if is_dry else "Deleted", ", ".join(pruned) or "nothing")
        self.link(self.name)
        return pruned
