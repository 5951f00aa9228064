"""Finds out whether W&B can be online, without a prompt and without the network."""

import netrc
import os
import urllib.parse
from pathlib import Path


def choose_mode(mode: str) -> str:
    """`online`, `offline` or `disabled`. auto means the value of WANDB_MODE, or else online if there is an API key.

    Without a key, W&B would prompt. Then online becomes offline, with a line that says so.
    """
    if mode == "auto":
        known = {"online": "online", "offline": "offline", "dryrun": "offline", "disabled": "disabled"}
        mode = known.get(os.environ.get("WANDB_MODE", "")) or ("online" if _has_key() else "offline")
    if mode == "online" and not _has_key():
        print("wandb: no API key (wandb login); logging offline")
        return "offline"
    return mode


def agent_trial() -> tuple[str, str] | None:
    """The sweep and run ids of the trial for which `wandb agent` started this process; None outside an agent."""
    sweep, run = os.environ.get("WANDB_SWEEP_ID"), os.environ.get("WANDB_RUN_ID")
    return (sweep, run) if sweep and run else None


def need_home(run_dir: Path) -> None:
    """If the user has no home, let W&B keep its settings in the run directory: it does not start without a home."""
    try:
        Path.home()
    except RuntimeError:  # neither HOME nor an entry in passwd, as in containers
        os.environ["HOME"] = str((run_dir / "wandb").absolute())


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        logins = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return False
    import wandb

    servers = [urllib.parse.urlsplit(wandb.Settings().base_url).hostname or ""]
    if "WANDB_BASE_URL" not in os.environ:
        servers.append("api.wandb.ai")  # the public server's name in older logins
    return any(logins.authenticators(server) is not None for server in servers)
