"""Assets of MLflow, ``mlflow://<connection>/<registered model>[/<alias>]``."""

from urllib.parse import SplitResult


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Return the URI of a registered model or alias without trailing slash, query and fragment."""
    names = uri.path.strip("/").split("/")
    if not uri.netloc or not all(names) or len(names) > 2:
        raise ValueError("an asset of MLflow is mlflow://<connection>/<registered model>, optionally with /<alias>")
    return uri._replace(path="/" + "/".join(names), query="", fragment="")
