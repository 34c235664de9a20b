"""Whether W&B can be told of a run."""

from experiments.settings import SettingsError, first_process


def need_wandb(otherwise: str) -> None:
    """Nothing, if W&B is installed; `otherwise` says what to do without it.

    Raises:
        SettingsError: if it is not.
    """
    try:
        import wandb  # noqa: F401 - whether it can be
    except ImportError as error:
        line = f"wandb is not installed: pip install -e '.[wandb]', or {otherwise}"
        raise SettingsError(line) from error


def need_wandb_key(otherwise: str) -> None:
    """Nothing, if W&B has the key that its server asks for.

    Raises:
        SettingsError: if it has none.
    """
    import wandb

    if first_process() and not wandb.login(prompt=False, verify=False):
        raise SettingsError(f"W&B has no API key: run `wandb login`, or {otherwise}")
