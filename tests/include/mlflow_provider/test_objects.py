import pytest

from include.mlflow_provider import objects
from include.mlflow_provider.exceptions import MLflowError
from include.mlflow_provider.objects import fetch, fetch_folder, is_s3, publish, read_text

BUCKET = "s3://provider-tests"


@pytest.fixture(scope="module", autouse=True)
def bucket(services):
    from airflow.sdk import ObjectStoragePath

    ObjectStoragePath(BUCKET, conn_id="aws_default").mkdir(exist_ok=True)


@pytest.fixture
def source(tmp_path):
    (source := tmp_path / "source").write_bytes(bytes(range(256)) * 100)
    return source


@pytest.mark.parametrize(
    ("uri", "expected"), [("s3://b/a", True), ("s3a://b/a", True), ("/s3/a", False), ("mlflow-artifacts:/s3", False)]
)
def test_a_uri_in_s3_is_known_by_its_scheme(uri, expected):
    assert is_s3(uri) is expected


@pytest.mark.parametrize("where", ["s3", "disk"])
def test_an_object_is_written_and_read_byte_by_byte(source, where, tmp_path):
    uri = f"{BUCKET}/copied" if where == "s3" else str(tmp_path / "copied")
    publish(source, uri, "aws_default")
    fetch(uri, tmp_path / "back", "aws_default")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_a_uri_may_name_its_connection_itself(tmp_path, source):
    uri = "s3://aws_default@provider-tests/named"
    publish(source, uri, "nobody")
    fetch(uri, tmp_path / "back", "nobody")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("where", ["s3", "disk"])
def test_a_copy_that_breaks_off_leaves_what_was_there(source, where, tmp_path, monkeypatch):
    uri = f"{BUCKET}/kept.txt" if where == "s3" else str(tmp_path / "kept.txt")
    (old := tmp_path / "old").write_text("before")
    publish(old, uri, "aws_default")

    def break_off(file, target):
        target.write(file.read(1000))
        raise TimeoutError("the task timed out")

    with monkeypatch.context() as patch:
        patch.setattr(objects.shutil, "copyfileobj", break_off)
        with pytest.raises(MLflowError, match=rf"Could not write {uri}.*the task timed out"):
            publish(source, uri, "aws_default")
    assert read_text(uri, "aws_default") == "before"
    publish(source, uri, "aws_default")
    fetch(uri, tmp_path / "back", "aws_default")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_a_folder_is_copied_with_its_subfolders(tmp_path):
    for name in ("MLmodel", "code/a.py", "code/deep/b.py"):
        (tmp_path / "file").write_text(name)
        publish(tmp_path / "file", f"{BUCKET}/folder/{name}", "aws_default")
    publish(tmp_path / "file", f"{BUCKET}/folder-of-another/c.py", "aws_default")
    for ending in ("", "/"):
        (target := tmp_path / f"target{ending}").mkdir(exist_ok=True)
        fetch_folder(f"{BUCKET}/folder{ending}", target, "aws_default")
        found = {str(path.relative_to(target)): path.read_text() for path in target.rglob("*") if path.is_file()}
        assert found == {name: name for name in ("MLmodel", "code/a.py", "code/deep/b.py")}


def test_what_is_not_there_is_named_with_its_connection(source, tmp_path):
    with pytest.raises(MLflowError, match=r"Could not read s3://provider-tests/no.csv \(S3 connection 'aws_default'"):
        fetch(f"{BUCKET}/no.csv", tmp_path / "a", "aws_default")
    with pytest.raises(MLflowError, match=r"Could not read s3://provider-tests/no .* there is nothing of this name"):
        fetch_folder(f"{BUCKET}/no", tmp_path, "aws_default")
    with pytest.raises(MLflowError, match="Could not write s3://not-there/a"):
        publish(source, "s3://not-there/a", "aws_default")
