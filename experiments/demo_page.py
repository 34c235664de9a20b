"""The page of `demo`: what it says, its controls, and what they do."""

import tempfile
from pathlib import Path
from typing import Any, Final, final

import yaml

from datamodules.images import UnreadableImage
from datamodules.listing import SUFFIXES
from experiments.model_card import USES
from experiments.settings import SettingsError, describe, paper_of
from experiments.studio import Finding, Studio, result
from lightning_modules.base import Training

PURPOSES: Final = {
    "RetouchFormer": (
        "Retouch portraits",
        "looks for blemishes of the skin, smooths them, and leaves the rest of the face alone",
    ),
    "Makeup-Go": (
        "Take beautified portraits back",
        "undoes what a retouching app did to a face",
    ),
    "ISPL": (
        "Restore degraded portraits",
        "sharpens faces that are small, blurred, noisy or heavily compressed",
    ),
    "NASFE": (
        "Restore degraded portraits",
        "sharpens, cleans and lightens faces that are blurred, noisy or dark",
    ),
}
"""Of a paper: the page's title, and what its networks do."""
OTHER: Final = ("Restore portraits", "turns a picture of a face into a better one")
KEPT: Final = 1800  # seconds for which a photograph can be changed without another upload
DELETED: Final = (600, 3600)  # seconds: how often files are looked at, and how old they may be
WAITING: Final = 32  # photographs that may wait for others
STYLE: Final = "footer {display: none !important}"


def about(method: Training, aligned: bool) -> tuple[str, str]:
    """What stands above and below the controls, in Markdown.

    Args:
        method: with its trained weights.
        aligned: whether the pictures are to be crops.
    """
    settings = yaml.safe_load(method.settings) or {}
    name, scale = str(settings.get("experiment", "")), str(settings.get("scale", "published"))
    try:
        comment, paper = describe(name)[0], paper_of(name)
    except SettingsError:  # an experiment of the user's own
        comment, paper = "", ""
    title, does = PURPOSES.get(paper, OTHER)
    whose = f"A network of the {paper} paper" if paper else "A network"
    wanted = (
        "Give it the picture of **one face, already cut out and upright**, as its training "
        "pictures were."
        if aligned
        else "Give it a photograph with **one face or several**; it finds them, and the rest of "
        "the photograph stays as it is."
    )
    tried = (
        f" It was trained at the scale *{scale}*, which is for trying out: do not expect the "
        "paper's quality."
        if scale != "published"
        else ""
    )
    run = f"**Run:** {name or 'of unknown name'}, {method.batches_done} batches.{tried}"
    use, misuse = USES["restoration"]
    network = f"**Network:** {comment}" if comment else ""
    below = [run, network, f"**Meant for:** {use}.", f"**Not meant for:** {misuse}"]
    return f"# {title}\n\n{whose} {does}. {wanted}", "\n\n".join(filter(None, below))


def page(studio: Studio, megabytes: float) -> Any:
    """The page, a gradio Blocks, not yet served.

    Args:
        studio: what restores.
        megabytes: most of a file, as the page tells it; whoever serves the page sees to it.
    """
    import gradio as gr

    above, below = about(studio.method, studio.crops.detect is None)
    title = above.partition("\n")[0].removeprefix("# ")
    with gr.Blocks(
        analytics_enabled=False, title=f"{title} (Visagist)", delete_cache=DELETED
    ) as blocks:
        gr.Markdown(above)
        upload = gr.File(label="Photograph", file_types=sorted(SUFFIXES), height=140)
        _take_uploads_alone(upload)
        gr.Markdown(_limits(studio.pixels, megabytes))
        _controls(studio, upload)
        gr.Markdown(below)
    return blocks.queue(max_size=WAITING, default_concurrency_limit=2)


def _limits(pixels: int, megabytes: float) -> str:
    return (
        f"PNG, JPEG, WebP or TIFF, up to {megabytes:g} MB and {pixels / 1e6:g} megapixels. It "
        "goes to nobody but the computer that this page is served from, and is deleted there "
        f"after {DELETED[1] // 60} minutes or when the page is shut down."
    )


def _controls(studio: Studio, upload: Any) -> None:
    """Adds the results, hidden until there are some, and ties them to the upload."""
    import gradio as gr

    finding = gr.State(None, time_to_live=KEPT)
    note = gr.Markdown(min_height=40)  # where waiting shows too
    with gr.Column(visible=False) as results:
        views = _views(studio.method.masked)
        strength = gr.Slider(0, 1, 1, step=0.05, label="Strength (0: as it was, 1: all of it)")
        parts = studio.components
        label = f"Components of the edit that are taken back: the first ... of {parts}"
        count = gr.Slider(1, max(parts, 2), parts, step=1, label=label, visible=parts > 1)
        download = gr.DownloadButton("Download the result", variant="primary")
    shown = [results, note, *views, download]
    handlers = Handlers(studio)
    settings = [strength, count]
    emptied = {"fn": handlers.emptied, "outputs": [finding, results, note]}
    quick = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
    upload.clear(**emptied, **quick)
    upload.upload(**emptied, **quick).then(
        handlers.restored,
        [upload, *settings],
        [finding, *shown],
        api_name="restore",
        show_progress_on=note,
    ).failure(lambda: None, None, upload, **quick)
    for control in settings:
        control.release(
            handlers.changed,
            [finding, *settings],
            shown,
            api_visibility="private",
            trigger_mode="always_last",
            show_progress="minimal",
        )


def _views(masked: bool) -> list[Any]:
    import gradio as gr

    with gr.Tabs():
        with gr.Tab("Photograph"):
            views = [
                gr.ImageSlider(
                    label="Before (left) and after (right): drag the line",
                    format="png",
                    interactive=False,
                    buttons=["fullscreen"],
                    max_height=700,
                    elem_id="slider",
                )
            ]
        with gr.Tab("Faces"):
            columns = "before, after, and what was changed" if masked else "before and after"
            label = f"The first faces, enlarged: {columns}"
            views += [_picture(label, "faces")]
        with gr.Tab("What was changed", visible=masked):
            label = "The brighter it glows, the more the network changed there"
            views += [_picture(label, "overlay")]
    return views


def _picture(label: str, name: str) -> Any:
    import gradio as gr

    buttons = ["fullscreen"]  # what is shown is a preview, and nothing is shared
    return gr.Image(label=label, format="png", interactive=False, buttons=buttons, elem_id=name)


def _take_uploads_alone(component: Any) -> None:
    """Has a client's file be one that was uploaded; gradio would fetch an address in its place."""
    moved = component.async_move_resource_to_block_cache

    async def refusing(path: str | Path | None) -> str | None:
        if path is not None and "://" in str(path):
            raise _told(f"{path} is no uploaded file")
        kept: str | None = await moved(path)
        return kept

    component.async_move_resource_to_block_cache = refusing


@final
class Handlers:
    """What the page does when a photograph is uploaded or a control is moved.

    Args:
        studio: what restores.
    """

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def emptied(self) -> tuple[None, Any, str]:
        """No photograph, the results hidden, and no note."""
        import gradio as gr

        return None, gr.Column(visible=False), ""

    def restored(self, path: str | None, strength: float, count: int) -> tuple[Any, ...]:
        """The photograph's finding and the values of all that is shown.

        Raises:
            gradio.Error: with the reason, if it cannot be restored.
        """
        if not path:
            raise _told("There is no photograph; upload one")
        try:
            finding = self._studio.find(Path(path))
        except UnreadableImage as error:
            raise _told(str(error)) from None
        return finding, *self.changed(finding, strength, count)

    def changed(self, finding: Finding | None, strength: float, count: int) -> tuple[Any, ...]:
        """The values of all that is shown, for another strength or other components.

        Raises:
            gradio.Error: if the photograph was forgotten, or a number is out of its range.
        """
        import gradio as gr

        if finding is None:
            raise _told(f"Photographs are forgotten after {KEPT // 60} minutes; upload it again")
        parts = self._studio.components
        try:
            made = result(finding, strength, int(count) if parts > 1 else 1)
        except ValueError as error:
            raise _told(str(error)) from None
        kept = _kept(finding.piece.entry.path, made.file)
        views = (made.before, made.after), made.faces, finding.overlay
        return gr.Column(visible=True), made.note, *views, str(kept)


def _told(message: str) -> Exception:
    import gradio as gr

    error: Exception = gr.Error(f"{message}.", None, title="Not restored", print_exception=False)
    return error


def _kept(source: Path, content: bytes) -> Path:
    """The result as a file, where gradio serves files from and deletes them."""
    from gradio.utils import get_upload_folder

    folder = Path(tempfile.mkdtemp(dir=get_upload_folder()))
    path = folder / f"{source.stem}_restored{source.suffix}"
    path.write_bytes(content)
    return path
