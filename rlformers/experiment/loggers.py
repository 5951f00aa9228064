"""Where the rows of a run go: `metrics.jsonl`, the source of truth, and Weights & Biases, one run per seed."""

import json
import netrc
import os
import re
import secrets
import urllib.parse
from pathlib import Path
from typing import Any

from rlformers.compose import to_dict
from rlformers.config import ExperimentConfig
from rlformers.experiment.run_dir import finite, write_json

Row = dict[str, float | int | None]


class JsonlLogger:
    """A line of JSON per row, written at once. Numbers that are not finite become null: NaN is no JSON.

    Args:
        path: The file. What it has beyond `size` bytes is cut off: lines that a resumed run will write again.
        size: Bytes that are known to be whole lines.
    """

    def __init__(self, path: Path, size: int = 0):
        self.file = path.open("ab", buffering=0)
        self.file.truncate(size)
        self.file.seek(size)

    def log(self, row: Row) -> None:
        """Append a row.

        Raises:
            OSError: It cannot be written, with the path of the file.
        """
        line = memoryview((json.dumps(finite(row), allow_nan=False) + "\n").encode())
        try:
            while line:  # a disk that is nearly full takes a part
                line = line[self.file.write(line) :]
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.file.name) from error

    def sync(self) -> int:
        """Force what was written to the disk and say how many bytes that is."""
        os.fsync(self.file.fileno())
        return self.file.tell()

    def finish(self, summary: dict[str, Any]) -> None:
        """Close the file."""
        del summary  # It has a file of its own.
        self.file.close()


class WandbLogger:
    """One W&B run per seed in one group, with environment steps as x axis. Never prompts and never stops training.

    Mode auto is online with an API key (or as WANDB_MODE says), else offline. Online without a key or a network becomes
    offline, and if W&B fails altogether it is left out, each with one line that says so.
    """

    def __init__(self, config: ExperimentConfig, run_dir: Path, group: str | None, seeds: list[int]):
        self.runs: dict[int, Any] = {}
        self.run_dir = run_dir
        self.mode = config.wandb.mode
        if self.mode == "disabled":
            return
        try:
            self.mode = self._mode(self.mode)
            if self.mode == "disabled":
                return
            group, ids = self._identity(config.wandb.group or group or config.env, seeds)
            for seed in seeds:
                self.runs[seed] = self._start(config, group, seed, ids[str(seed)])
        except Exception as error:  # of whatever kind: metrics.jsonl is the record, W&B a view of it
            self._give_up(error)

    def _mode(self, mode: str) -> str:
        if mode == "auto":
            variable = os.environ.get("WANDB_MODE", "")
            known = {"online": "online", "offline": "offline", "dryrun": "offline", "disabled": "disabled"}
            mode = known.get(variable) or ("online" if _has_key() else "offline")
        if mode == "online" and not _has_key():
            print("wandb: no API key (wandb login); logging offline")
            return "offline"
        return mode

    def _identity(self, group: str, seeds: list[int]) -> tuple[str, dict[str, str]]:
        """Group and ids of the runs: those of the first start in this directory, so that a resumed run goes on."""
        path = self.run_dir / "wandb" / "ids.json"
        if path.exists():
            saved = json.loads(path.read_text())
            return saved["group"], saved["ids"]
        ids = {str(seed): secrets.token_hex(4) for seed in seeds}
        path.parent.mkdir(exist_ok=True)
        write_json(path, {"group": group, "ids": ids})
        return group, ids

    def _give_up(self, error: Exception) -> None:
        print(f"wandb: {type(error).__name__}: {str(error).splitlines()[0]}; going on without it")
        self.runs = {}

    def _start(self, config: ExperimentConfig, group: str, seed: int, run_id: str) -> Any:
        import wandb

        name = f"{config.core.name}-{self.run_dir.name}-seed{seed}"
        resolved = to_dict(config)
        resolved["wandb"]["group"] = group
        arguments: dict[str, Any] = dict(
            project=re.sub(r"[/\\#?%:]", "-", config.wandb.project),
            entity=config.wandb.entity,
            group=group,
            job_type="train",
            name=name,
            id=run_id,
            resume="allow",
            tags=[tag[:64] for tag in (*config.wandb.tags, config.env, config.core.name)],
            config=resolved | {"seed": seed, "run_dir": str(self.run_dir)},
            reinit="create_new",
        )

        def settings() -> Any:
            mode: Any = self.mode
            return wandb.Settings(mode=mode, console="off", silent=True, root_dir=str(self.run_dir), init_timeout=20)

        try:
            run = wandb.init(settings=settings(), **arguments)
        except (wandb.errors.CommError, wandb.errors.UsageError) as error:
            if self.mode != "online":
                raise
            print(f"wandb: cannot go online ({str(error).splitlines()[0]}); logging offline")
            self.mode = "offline"
            run = wandb.init(settings=settings(), **arguments)
        run.define_metric("env_steps", hidden=True)
        run.define_metric("*", step_metric="env_steps")
        return run

    def log(self, row: Row) -> None:
        """Log a row to the run of its seed."""
        if not self.runs:
            return
        values = {key: value for key, value in row.items() if key not in ("seed", "step") and value is not None}
        try:
            # With a step, W&B drops the rows that a resumed run repeats; they equal those that it has.
            self.runs[int(row["seed"] or 0)].log({"env_steps": row["step"], **values}, step=row["step"])
        except Exception as error:
            self._give_up(error)

    def finish(self, summary: dict[str, Any]) -> None:
        """Finish the runs; say how offline ones reach the server."""
        for i, run in enumerate(self.runs.values()):
            run.summary["final_return"] = summary["final_return"]["per_seed"][i]
            run.finish(exit_code=0 if summary["completed"] else 1)
        if self.runs and self.mode == "offline":
            print(f"wandb: offline; upload with: wandb sync {self.run_dir}/wandb/offline-run-*")


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
