"""Operators for MLflow's model registry."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

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
        # Imported here because it brings requests, which a DAG file should not pay for.
        from ..hooks.client import MLflowClientHook

        return MLflowClientHook(mlflow_conn_id=self.mlflow_conn_id)

    def link_to_model(self, name: str) -> None:
        """Make the task's link open the page of a registered model."""
        self.mlflow_page = self.hook.server.page("models", name)

    def link_to_version(self, version: dict[str, Any]) -> None:
        """Make the task's link open the page of a model version."""
        self.mlflow_page = self.hook.server.page("models", version["name"], "versions", version["version"])


class CreateRegisteredModelOperator(_RegistryOperator):
    """Creates a registered model and returns ``{"registered_model": {...}}``.

    :param mlflow_conn_id: id of the Airflow connection of the MLflow server
    :param name: name of the model (templated)
    :param tags: ``[{"key": key, "value": value}]`` (templated)
    :param description: what the model is for (templated)
    :param exist_ok: return a model that exists already, as it is, instead of failing
    :raises MLflowAPIError: the model exists and ``exist_ok`` is False, or the server refused
    """

    template_fields: Sequence[str] = ("name", "tags", "description")
    template_fields_renderers = {"tags": "json"}

    def __init__(
        self,
        *,
        mlflow_conn_id: str = "mlflow_default",
        name: str,
        tags: list[dict[str, str]] | None = None,
        description: str | None = None,
        exist_ok: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(mlflow_conn_id=mlflow_conn_id, name=name, **kwargs)
        self.tags = tags
        self.description = description
        self.exist_ok = exist_ok

    def execute(self, context: Context) -> dict[str, Any]:
        """Create the model."""
        model = self.hook.create_registered_model(
            self.name, tags=self.tags, description=self.description, exist_ok=self.exist_ok
        )
        self.link_to_model(self.name)
        return {"registered_model": model}


class GetRegisteredModelOperator(_RegistryOperator):
    """Returns a registered model as ``{"registered_model": {...}}``.

    :param mlflow_conn_id: id of the Airflow connection of the MLflow server
    :param name: name of the model (templated)
    :raises MLflowAPIError: there is no such model, or the server refused
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Fetch the model."""
        model = self.hook.read_registered_model(self.name)
        self.link_to_model(self.name)
        return {"registered_model": model}


class DeleteRegisteredModelOperator(_RegistryOperator):
    """Deletes a registered model with all its versions; returns nothing.

    :param mlflow_conn_id: id of the Airflow connection of the MLflow server
    :param name: name of the model (templated)
    :param missing_ok: succeed if there is no such model, so that the task can run again
    :raises MLflowAPIError: there is no such model and ``missing_ok`` is False, or the server refused
    """

    def __init__(
        self, *, mlflow_conn_id: str = "mlflow_default", name: str, missing_ok: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(mlflow_conn_id=mlflow_conn_id, name=name, **kwargs)
        self.missing_ok = missing_ok

    def execute(self, context: Context) -> None:
        """Delete the model."""
        self.hook.delete_registered_model(self.name, missing_ok=self.missing_ok)
        self.mlflow_page = self.hook.server.page("models")


class GetLatestModelVersionsOperator(_RegistryOperator):
    """Returns the newest version of each stage as ``{"model_versions": [{...}]}``.

    MLflow deprecates stages in favour of aliases. A model without such versions gives ``{}``, MLflow's answer.

    :param mlflow_conn_id: id of the Airflow connection of the MLflow server
    :param name: name of the registered model (templated)
    :param stages: such as ``["Production"]``; every stage, ``None`` included, if not given (templated)
    :raises MLflowAPIError: there is no such model or stage, or the server refused
    """

    template_fields: Sequence[str] = ("name", "stages")

    def __init__(
        self,
        *,
        mlflow_conn_id: str = "mlflow_default",
        name: str,
        stages: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(mlflow_conn_id=mlflow_conn_id, name=name, **kwargs)
        self.stages = stages

    def execute(self, context: Context) -> dict[str, Any]:
        """Fetch the versions."""
        versions = self.hook.get_latest_versions(self.name, self.stages)
        self.link_to_model(self.name)
        return {"model_versions": versions} if versions else {}


class CreateModelVersionOperator(_RegistryOperator):
    """Registers a model as the next version of a registered model; returns ``{"model_version": {...}}``.

    :param mlflow_conn_id: id of the Airflow connection of the MLflow server
    :param name: name of the registered model (templated)
    :param source: URI of the model's artifacts, such as ``models:/m-1f0c...`` (templated)
    :param run_id: the run that made the model (templated)
    :param tags: ``[{"key": key, "value": value}]`` (templated)
    :param run_link: URL of the run, if another MLflow server holds it (templated)
    :param description: what is new in this version (templated)
    :param model_id: the logged model of MLflow 3; read from ``source`` if that names one (templated)
    :param exist_ok: return a version of the same name, source and run if there is one, so that a task which
        runs again does not register its model twice
    :raises MLflowAPIError: the server refused
    """

    template_fields: Sequence[str] = (
        "name",
        "source",
        "run_id",
        "tags",
        "run_link",
        "description",
        "model_id",
    )
    template_fields_renderers = {"tags": "json"}

    def __init__(
        self,
        *,
        mlflow_conn_id: str = "mlflow_default",
        name: str,
        source: str,
        run_id: str | None = None,
        tags: list[dict[str, str]] | None = None,
        run_link: str | None = None,
        description: str | None = None,
        model_id: str | None = None,
        exist_ok: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(mlflow_conn_id=mlflow_conn_id, name=name, **kwargs)
        self.source = source
        self.run_id = run_id
        self.tags = tags
        self.run_link = run_link
        self.description = description
        self.model_id = model_id
        self.exist_ok = exist_ok

    def execute(self, context: Context) -> dict[str, Any]:
        """Register the version."""
        fields = {name: getattr(self, name) for name in self.template_fields}
        version = self.hook.create_model_version(**fields, exist_ok=self.exist_ok)
        self.link_to_version(version)
        return {"model_version": version}


class GetModelVersionOperator(_RegistryOperator):
    """Returns one version of a registered model as ``{"model_version": {...}}``.

    :param mlflow_conn_id: id of the Airflow connection of the MLflow server
    :param name: name of the registered model (templated)
    :param version: number of the version (templated)
    :raises MLflowAPIError: there is no such version, or the server refused
    """

    template_fields: Sequence[str] = ("name", "version")

    def __init__(self, *, mlflow_conn_id: str = "mlflow_default", name: str, version: str, **kwargs: Any) -> None:
        super().__init__(mlflow_conn_id=mlflow_conn_id, name=name, **kwargs)
        self.version = version

    def execute(self, context: Context) -> dict[str, Any]:
        """Fetch the version."""
        version = self.hook.get_model_version(self.name, self.version)
        self.link_to_version(version)
        return {"model_version": version}


class DeleteModelVersionOperator(_RegistryOperator):
    """Deletes one version of a registered model; returns nothing.

    :param mlflow_conn_id: id of the Airflow connection of the MLflow server
    :param name: name of the registered model (templated)
    :param version: number of the version (templated)
    :param missing_ok: succeed if there is no such version, so that the task can run again
    :raises MLflowAPIError: there is no such version and ``missing_ok`` is False, or the server refused
    """

    template_fields: Sequence[str] = ("name", "version")

    def __init__(
        self,
        *,
        mlflow_conn_id: str = "mlflow_default",
        name: str,
        version: str,
        missing_ok: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(mlflow_conn_id=mlflow_conn_id, name=name, **kwargs)
        self.version = version
        self.missing_ok = missing_ok

    def execute(self, context: Context) -> None:
        """Delete the version."""
        self.hook.delete_model_version(self.name, self.version, missing_ok=self.missing_ok)
        self.link_to_model(self.name)


class TransitionModelVersionStageOperator(_RegistryOperator):
    """Moves a model version to a stage and points an alias to it; returns ``{"model_version": {...}}``.

    :param mlflow_conn_id: id of the Airflow connection of the MLflow server
    :param name: name of the registered model (templated)
    :param version: number of the version (templated)
    :param stage: ``Staging``, ``Production``, ``Archived`` or ``None``
    :param archive_existing_versions: archive the versions that are in this stage now
    :param alias: name that points to this version from now on, what MLflow 3 uses instead of stages (templated)
    :raises MLflowAPIError: there is no such version or stage, or the server refused
    """

    template_fields: Sequence[str] = ("name", "version", "alias")

    def __init__(
        self,
        *,
        mlflow_conn_id: str = "mlflow_default",
        name: str,
        version: str,
        stage: str,
        archive_existing_versions: bool | None = False,
        alias: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(mlflow_conn_id=mlflow_conn_id, name=name, **kwargs)
        self.version = version
        self.stage = stage
        self.archive_existing_versions = archive_existing_versions
        self.alias = alias

    def execute(self, context: Context) -> dict[str, Any]:
        """Move the version, if stage and alias are such that MLflow takes both."""
        from ..hooks.client import check_alias, check_stage

        check_stage(self.stage)
        if self.alias:
            check_alias(self.alias)
        version = self.hook.transition_model_version_stage(
            self.name, self.version, self.stage, bool(self.archive_existing_versions)
        )
        if self.alias:
            self.hook.set_registered_model_alias(self.name, self.alias, self.version)
        self.link_to_version(version)
        return {"model_version": version}


class SetRegisteredModelAliasOperator(_RegistryOperator):
    """Points an alias to a model version, and returns ``{"model_version": {...}}``.

    :param mlflow_conn_id: id of the Airflow connection of the MLflow server
    :param name: name of the registered model (templated)
    :param alias: name that points to this version from now on, whichever it pointed to before (templated)
    :param version: number of the version (templated)
    :raises MLflowAPIError: there is no such version, or the server refused
    """

    template_fields: Sequence[str] = ("name", "alias", "version")

    def __init__(
        self, *, mlflow_conn_id: str = "mlflow_default", name: str, alias: str, version: str, **kwargs: Any
    ) -> None:
        super().__init__(mlflow_conn_id=mlflow_conn_id, name=name, **kwargs)
        self.alias = alias
        self.version = version

    def execute(self, context: Context) -> dict[str, Any]:
        """Set the alias."""
        self.hook.set_registered_model_alias(self.name, self.alias, self.version)
        version = self.hook.get_model_version(self.name, self.version)
        self.link_to_version(version)
        return {"model_version": version}


class DeleteRegisteredModelAliasOperator(_RegistryOperator):
    """Removes an alias from the version that has it, if one does; returns nothing.

    :param mlflow_conn_id: id of the Airflow connection of the MLflow server
    :param name: name of the registered model (templated)
    :param alias: the alias (templated)
    :raises MLflowAPIError: there is no such model, or the server refused
    """

    template_fields: Sequence[str] = ("name", "alias")

    def __init__(self, *, mlflow_conn_id: str = "mlflow_default", name: str, alias: str, **kwargs: Any) -> None:
        super().__init__(mlflow_conn_id=mlflow_conn_id, name=name, **kwargs)
        self.alias = alias

    def execute(self, context: Context) -> None:
        """Remove the alias."""
        self.hook.delete_registered_model_alias(self.name, self.alias)
        self.link_to_model(self.name)


class SetModelVersionTagOperator(_RegistryOperator):
    """Sets a tag of a model version, in place of one of the same key; returns nothing.

    :param mlflow_conn_id: id of the Airflow connection of the MLflow server
    :param name: name of the registered model (templated)
    :param version: number of the version (templated)
    :param key: of the tag (templated)
    :param value: any value; MLflow stores its text (templated)
    :raises MLflowAPIError: there is no such version, or the server refused
    """

    template_fields: Sequence[str] = ("name", "version", "key", "value")

    def __init__(
        self, *, mlflow_conn_id: str = "mlflow_default", name: str, version: str, key: str, value: Any, **kwargs: Any
    ) -> None:
        super().__init__(mlflow_conn_id=mlflow_conn_id, name=name, **kwargs)
        self.version = version
        self.key = key
        self.value = value

    def execute(self, context: Context) -> None:
        """Set the tag."""
        self.hook.set_model_version_tag(self.name, self.version, self.key, self.value)
        self.link_to_version({"name": self.name, "version": str(self.version)})


class SearchModelVersionsOperator(_RegistryOperator):
    """Returns the versions of a registered model that match, newest first, as ``{"model_versions": [{...}]}``.

    :param mlflow_conn_id: id of the Airflow connection of the MLflow server
    :param name: name of the registered model (templated)
    :param filter_string: such as ``tags.checked = 'yes'``; all versions if not given (templated)
    :raises MLflowAPIError: MLflow cannot read the filter, or the server refused
    """

    template_fields: Sequence[str] = ("name", "filter_string")

    def __init__(
        self, *, mlflow_conn_id: str = "mlflow_default", name: str, filter_string: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(mlflow_conn_id=mlflow_conn_id, name=name, **kwargs)
        self.filter_string = filter_string

    def execute(self, context: Context) -> dict[str, Any]:
        """Search the versions."""
        versions = self.hook.search_versions_of(self.name, self.filter_string)
        self.link_to_model(self.name)
        return {"model_versions": versions}


class CopyModelVersionOperator(_RegistryOperator):
    """Makes a version of one model the next version of another; returns ``{"model_version": {...}}``.

    The copy has the tags and the description of the original. The other model is created if there is none.

    :param mlflow_conn_id: id of the Airflow connection of the MLflow server
    :param model_uri: ``models:/name/3`` or ``models:/name@alias``: the version to copy (templated)
    :param name: name of the registered model that gets the version (templated)
    :param exist_ok: return the copy of this version if the model has one, so that the task can run again
    :raises MLflowError: the URI has another form
    :raises MLflowAPIError: there is no such version, or the server refused
    """

    template_fields: Sequence[str] = ("name", "model_uri")

    def __init__(
        self,
        *,
        mlflow_conn_id: str = "mlflow_default",
        model_uri: str,
        name: str,
        exist_ok: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(mlflow_conn_id=mlflow_conn_id, name=name, **kwargs)
        self.model_uri = model_uri
        self.exist_ok = exist_ok

    def execute(self, context: Context) -> dict[str, Any]:
        """Copy the version."""
        version = self.hook.copy_model_version(self.model_uri, self.name, exist_ok=self.exist_ok)
        self.link_to_version(version)
        return {"model_version": version}


class PruneModelVersionsOperator(_RegistryOperator):
    """Deletes old versions of a registered model, and returns the numbers of those that it deleted, newest first.

    A version that has an alias, or is in the stage Staging or Production, is never deleted. The logged models behind
    the versions stay.

    :param mlflow_conn_id: id of the Airflow connection of the MLflow server
    :param name: name of the registered model (templated)
    :param keep: how many of the newest versions stay, whether they have an alias or not (templated)
    :param preview: delete nothing, and return what would be deleted (templated)
    :raises MLflowError: ``keep`` is not a whole number above 0; nothing was deleted
    :raises MLflowAPIError: the server refused
    """

    template_fields: Sequence[str] = ("name", "keep", "preview")

    def __init__(
        self,
        *,
        mlflow_conn_id: str = "mlflow_default",
        name: str,
        keep: int | str,
        preview: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(mlflow_conn_id=mlflow_conn_id, name=name, **kwargs)
        self.keep = keep
        self.preview = preview

    def execute(self, context: Context) -> list[str]:
        """Delete the versions."""
        is_dry = str(self.preview).lower() not in ("false", "0", "no", "none", "")
        pruned = self.hook.prune_model_versions(self.name, self.keep, dry_run=is_dry)
        self.log.info("%s %s", "Would delete" if is_dry else "Deleted", ", ".join(pruned) or "nothing")
        self.link_to_model(self.name)
        return pruned
