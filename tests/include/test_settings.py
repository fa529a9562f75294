import pytest

from include.settings import read_number


@pytest.mark.parametrize("text", ["", "2.5"])
def test_a_number_is_read_from_the_environment_unless_it_is_empty(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("MAX_FILE_MB", text)
    assert read_number("MAX_FILE_MB", 100) == (2.5 if text else 100)


@pytest.mark.parametrize("text", ["10 MB", "0", "-1", "nan", "inf"])
def test_another_text_is_refused_with_the_name_of_the_variable(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("MAX_FILE_MB", text)
    with pytest.raises(ValueError, match=f"MAX_FILE_MB is '{text}': give a number above 0"):
        read_number("MAX_FILE_MB", 100)
