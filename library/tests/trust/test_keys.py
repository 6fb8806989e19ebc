"""Where the private key may lie, and when one is made."""

import pytest

from clones import Clone, refusal
from mlgates.trust import keys, verify


def test_a_key_is_never_made_where_it_would_be_lost_or_found(
    reigning: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(keys.SETTING, str(reigning.root / "signing.pem"))
    assert "must not lie in the repository" in refusal(keys.make, reigning.project)
    monkeypatch.delenv(keys.SETTING)
    monkeypatch.setenv("CI", "true")
    assert keys.SETTING in refusal(keys.make, reigning.project)
    assert not verify.keys(reigning.project)
