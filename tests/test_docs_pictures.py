"""The pictures of the documentation: small, shown on a page, and made by a script that runs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import PAGES, ROOT

PICTURES = ROOT / "docs" / "pictures"
CHROMIUM = os.environ.get("BIGHUB_CHROMIUM") or shutil.which("chromium")
LARGEST = 150_000


def test_every_screenshot_is_small_and_on_a_page_with_a_description() -> None:
    shown = {
        (page.parent / target).resolve(): text
        for page in PAGES
        for text, target in re.findall(r"!\[(.*?)\]\((\S+?)\)", page.read_text(encoding="utf-8"))
    }
    for picture in PICTURES.glob("*.png"):
        assert picture.stat().st_size < LARGEST, picture.name
        assert shown.get(picture), f"no page shows and describes {picture.name}"


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")
def test_the_script_takes_every_picture_of_the_approval_page(tmp_path: Path) -> None:
    pytest.importorskip("playwright")
    script = PICTURES / "inbox.py"
    ran = subprocess.run(
        [sys.executable, script, tmp_path], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    taken = {path.name for path in tmp_path.iterdir()}
    assert taken == {path.name for path in PICTURES.glob("inbox*.png")}
