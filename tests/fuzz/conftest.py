import pytest

from fuzz.processes import made_bases


@pytest.fixture(scope="session")
def campaign_root(tmp_path_factory):
    """A folder for campaigns, with the files that they start from."""
    root = tmp_path_factory.mktemp("campaign")
    made_bases(root / "bases")
    return root
