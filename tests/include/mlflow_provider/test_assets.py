from urllib.parse import urlsplit

import pytest

from include.mlflow_provider.assets import sanitize_uri


@pytest.mark.parametrize("uri", ["mlflow://mlflow_default/lengths", "mlflow://mlflow_default/lengths/champion"])
def test_a_model_and_its_alias_are_assets(uri):
    assert sanitize_uri(urlsplit(uri)).geturl() == uri
    assert sanitize_uri(urlsplit(f"{uri}/?page=1#top")).geturl() == uri


@pytest.mark.parametrize("uri", ["mlflow:///lengths", "mlflow://mlflow_default", "mlflow://a/b//c", "mlflow://a/b/c/d"])
def test_an_address_of_nothing_is_rejected(uri):
    with pytest.raises(ValueError, match="mlflow://<connection>/<registered model>"):
        sanitize_uri(urlsplit(uri))
