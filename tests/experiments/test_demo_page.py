import gc
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from PIL import Image

from datamodules.synthetic import draw_face
from experiments import demo
from experiments.demo_page import about, page
from experiments.studio import Studio, result
from tests.experiments.carried import small_run
from tests.experiments.tiny import TinyTraining

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    # gradio's own, of what goes in version 4 of pandas
    pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting' is deprecated"),
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),
    # event loops that gradio, its client and playwright leave to the garbage collector
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]
PATIENCE = 40_000  # milliseconds
SHOWN = "[...document.querySelectorAll('#slider img')].map(i => i.src).join(' ')"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The page of a RetouchFormer that was trained for two steps."""
    folder = tmp_path_factory.mktemp("demo")
    run = small_run("retouchformer_gamma0.1", folder)
    words = [f"--ckpt={run}", "--aligned", "--max-megapixels=0.01", "--max-megabytes=0.1"]
    options = demo._parser().parse_args(words)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "NO_PROXY", "no_proxy"):
            patch.setenv(name, "")
        patch.setattr("tempfile.tempdir", str(folder))
        with demo._own_folder():
            studio = demo._studio(options)
            blocks = page(studio, options.max_megabytes)
            try:
                demo._launch(blocks, options, demo._free_port(options.host, 0))
                yield SimpleNamespace(url=blocks.local_url, studio=studio, folder=folder)
            finally:
                blocks.close(verbose=False)
                gc.collect()  # what was left open is told of here and not in another test


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    if CHROMIUM is None:
        pytest.skip("no chromium found")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()
    gc.collect()


@pytest.fixture
def tab(browser, served) -> Iterator[SimpleNamespace]:
    """The page in a browser, and the errors and requests that it has seen."""
    context = browser.new_context(accept_downloads=True)
    opened, errors, requests = context.new_page(), [], []
    opened.set_default_timeout(PATIENCE)
    opened.on("console", lambda said: said.type == "error" and errors.append(said.text))
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("request", lambda request: requests.append(request.url))
    opened.goto(served.url)
    opened.wait_for_selector("input[type=file]", state="attached")
    yield SimpleNamespace(page=opened, errors=errors, requests=requests)
    context.close()


def drawn(folder: Path, number: int, name: str = "face.jpg") -> Path:
    path = folder / name
    Image.fromarray(draw_face(number, 0, 64).raw).save(path, quality=95)
    return path


def downloaded(opened) -> bytes:
    with opened.expect_download() as download:
        opened.click("text=Download the result")
    assert download.value.suggested_filename == "face_restored.jpg"
    return Path(download.value.path()).read_bytes()


def test_a_visitor_uploads_a_face_sees_it_changed_and_takes_it_home(tab, served, tmp_path):
    assert not tab.page.is_visible("#slider")
    photograph = drawn(tmp_path, 3)
    tab.page.set_input_files("input[type=file]", photograph)
    tab.page.wait_for_selector("text=/1 face changed in/")
    tab.page.wait_for_selector("#slider img >> nth=1")
    sizes = tab.page.eval_on_selector_all("#slider img", "all => all.map(i => i.naturalWidth)")
    assert sizes == [64, 64]
    wanted = result(served.studio.find(photograph), 1, 1)
    first = downloaded(tab.page)
    assert first == wanted.file
    for name, part in (("Faces", "faces"), ("What was changed", "overlay")):
        tab.page.get_by_role("tab", name=name).click()
        tab.page.wait_for_selector(f"#{part} img")
    tab.page.get_by_role("tab", name="Photograph").click()
    shown = tab.page.evaluate(SHOWN)
    tab.page.get_by_role("spinbutton").first.fill("0")
    tab.page.get_by_role("spinbutton").first.press("Tab")
    tab.page.wait_for_function(f"before => {SHOWN} != before", arg=shown)
    assert downloaded(tab.page) == result(served.studio.find(photograph), 0, 1).file != first
    assert tab.errors == []
    elsewhere = [url for url in tab.requests if not url.startswith((served.url, "data:", "blob:"))]
    assert elsewhere == []


def test_what_is_no_picture_or_too_large_is_told_on_the_page(tab, served, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    Image.new("RGB", (200, 200)).save(tmp_path / "wide.png")
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "heavy.png")
    for name, told in (
        ("text.png", "text.png: is not a PNG, JPEG, WebP or TIFF picture."),
        ("wide.png", "wide.png: is 200 x 200, above 10000 pixels in all."),
    ):
        tab.page.set_input_files("input[type=file]", tmp_path / name)
        tab.page.wait_for_selector(f"text={told}")
        assert not tab.page.is_visible("#slider")
        tab.page.wait_for_selector("input[type=file]", state="attached")
    tab.page.set_input_files("input[type=file]", tmp_path / "heavy.png")
    tab.page.wait_for_selector("text=/exceed the maximum allowed size/i")


def client_of(served, folder: Path):
    from gradio_client import Client

    return Client(served.url, verbose=False, download_files=folder, analytics_enabled=False)


def test_two_visitors_at_once_each_get_their_own(served, tmp_path):
    from gradio_client import handle_file

    jobs = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        photograph = drawn(tmp_path / str(number), number)
        client = client_of(served, tmp_path / str(number))
        file = handle_file(photograph)
        jobs.append((photograph, client, client.submit(file, 1, 1, api_name="/restore")))
    for photograph, _, job in jobs:
        kept = Path(job.result(timeout=40)[-1])
        assert kept.read_bytes() == result(served.studio.find(photograph), 1, 1).file


def answer(served, path: str, strength: float = 1) -> str:
    """What a client is told that names `path` as its uploaded file."""
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    start = f"{served.url}gradio_api/call/restore"
    with httpx.Client(trust_env=False, timeout=40) as client:
        number = client.post(start, json={"data": [file, strength, 1]}).json()["event_id"]
        return client.get(f"{start}/{number}").text


def test_files_outside_of_the_uploads_are_neither_read_nor_given(served, tmp_path):
    outside = drawn(tmp_path, 1, "secret.png")
    assert "event: error" in answer(served, str(outside))
    dots = f"{os.environ['GRADIO_TEMP_DIR']}/..{outside}"
    assert "event: error" in answer(served, dots)
    for path in (str(outside), dots, "/etc/passwd"):
        told = httpx.get(f"{served.url}gradio_api/file={path}", trust_env=False)
        assert told.status_code in (403, 404)
    assert "is no uploaded file" in answer(served, "http://127.0.0.1:1/a.png")


def upload(served, name: str, content: bytes) -> httpx.Response:
    where = f"{served.url}gradio_api/upload"
    return httpx.post(where, files={"files": (name, io.BytesIO(content))}, trust_env=False)


def test_uploads_stay_in_their_folder_and_under_the_limit(served, tmp_path):
    content = drawn(tmp_path, 1, "a.png").read_bytes()
    (path,) = upload(served, "../../../evil.png", content).json()
    kept = Path(path).resolve()
    assert kept.is_relative_to(Path(os.environ["GRADIO_TEMP_DIR"]).resolve())
    assert "event: complete" in answer(served, path)
    assert "event: error" in answer(served, path, strength=3)
    told = upload(served, "a.png", b"\0" * 100_001)
    assert (told.status_code, "maximum allowed size of 100000" in told.text) == (413, True)


class Nobodys(TinyTraining):
    settings = ""


def test_the_page_names_the_paper_the_run_and_what_it_is_not_for(served):
    above, below = about(served.studio.method, aligned=False)
    assert above.startswith("# Retouch portraits\n\nA network of the RetouchFormer paper looks")
    assert "one face or several" in above
    assert "**Run:** retouchformer_gamma0.1, 2 batches" in below
    assert "trained at the scale *smoke*" in below
    assert "**Not meant for:** What comes out is a guess" in below
    above, below = about(Nobodys(), aligned=True)
    assert above.startswith("# Restore portraits\n\nA network turns a picture of a face into")
    assert "already cut out and upright" in above
    assert "**Run:** of unknown name, 0 batches." in below


def test_a_limit_that_the_page_tells_is_the_one_that_holds(served):
    config = httpx.get(f"{served.url}config", trust_env=False).json()
    told = [part["props"].get("value") or "" for part in config["components"]]
    assert any("up to 0.1 MB and 0.01 megapixels" in text for text in told if type(text) is str)
    assert config["max_file_size"] == 100_000
    assert not config["analytics_enabled"]
    assert isinstance(served.studio, Studio)
