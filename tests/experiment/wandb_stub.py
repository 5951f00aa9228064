"""A stand-in for the W&B server that the real client talks to over the loopback interface.

It keeps what it is told. The history of a run is a list to which the client appends at an offset,
as on the real server, so a row that is sent twice is there twice.
"""

import gzip
import itertools
import json
import random
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

ENTITY, SWEEP = "someone", "sweep001"


@dataclass
class Run:
    """What the server knows about a run; `exit_code` is None until the client has finished it."""

    name: str
    project: str = ""
    bucket: dict[str, Any] = field(default_factory=dict)  # the arguments of UpsertBucket, the last of each
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None

    @property
    def config(self) -> dict[str, Any]:
        """The configuration without W&B's own entries."""
        found = json.loads(self.bucket.get("config") or "{}")
        return {key: entry["value"] for key, entry in found.items() if not key.startswith("_")}

    def column(self, key: str) -> list[Any]:
        """A metric over the history, in the order in which it came; rows without it left out."""
        return [row[key] for row in self.history if key in row]


class Server(ThreadingHTTPServer):
    """`with Server() as server` serves at `server.url`; `server.runs` and so on tell what came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.runs: dict[str, Run] = {}
        self.artifacts: list[dict[str, Any]] = []  # inputs of CreateArtifact
        self.uploads: dict[str, bytes] = {}
        self.operations: list[str] = []
        self.trials: list[dict[str, Any]] = []  # parameters that the agent has been given
        self.sweep = ""
        self.lock = threading.Lock()
        self._todo: list[dict[str, Any]] = []
        self._serving = False

    def __enter__(self) -> "Server":
        self._serving = True
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()

    def hang_up(self) -> None:
        """Answer no more."""
        if self._serving:
            self._serving = False
            self.shutdown()
            self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients hang up as they like, or are killed."""

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that make the client use this server without a login."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": "0" * 40, "WANDB_MODE": "online"}

    def stream(self, name: str, body: dict[str, Any]) -> None:
        """A piece of the file stream of a run."""
        run = self.runs.setdefault(name, Run(name))
        for file, piece in (body.get("files") or {}).items():
            if file == "wandb-history.jsonl":
                assert piece["offset"] <= len(run.history), "the client left a gap"
                run.history[piece["offset"] :] = [json.loads(line) for line in piece["content"]]
            elif file == "wandb-summary.json" and piece["content"]:
                run.summary = json.loads(piece["content"][-1])
        if body.get("complete"):
            run.exit_code = body["exitcode"]

    def answer(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        """The data of a GraphQL answer, empty for operations that no test depends on."""
        self.operations.append(operation)
        method = getattr(self, f"on_{operation}", None)
        return method(variables) if method else {}

    def on_Viewer(self, _: dict[str, Any]) -> dict[str, Any]:
        none: dict[str, list] = {"edges": []}
        user = {"id": "u", "entity": ENTITY, "username": ENTITY, "name": ENTITY, "email": "a@b.c", "admin": False}
        return {"viewer": user | {"flags": "{}", "teams": none, "apiKeys": none}}

    on_GetDefaultEntity = on_Viewer

    def on_UpsertBucket(self, variables: dict[str, Any]) -> dict[str, Any]:
        name = variables.get("name") or variables["id"]
        run = self.runs.setdefault(name, Run(name))
        run.project = variables.get("project") or run.project
        run.bucket |= {key: value for key, value in variables.items() if value is not None}
        run.exit_code = None
        sweep = run.bucket.get("sweep")
        return {"upsertBucket": {"bucket": self._describe(run) | {"sweepName": sweep}, "inserted": True}}

    def on_RunResumeStatus(self, variables: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.get(variables["name"])
        model = {"id": "p", "name": variables["project"], "entity": {"id": "e", "name": ENTITY}}
        if run is None or not run.bucket:
            return {"model": model | {"bucket": None}}
        tail = [json.dumps(row) for row in run.history[-1:]]
        bucket = self._describe(run) | {
            "historyLineCount": len(run.history),
            "eventsLineCount": 0,
            "logLineCount": 0,
            "historyTail": json.dumps(tail),
            "eventsTail": "[]",
            "wandbConfig": json.dumps({"t": 1}),
        }
        return {"model": model | {"bucket": bucket}}

    def on_Run(self, variables: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.get(variables["name"])
        return {
            "project": {
                "run": run and self._describe(run) | {"state": "finished", "user": self.on_Viewer({})["viewer"]}
            }
        }

    def on_RunHistoryKeys(self, variables: dict[str, Any]) -> dict[str, Any]:
        last = self.runs[variables["name"]].column("_step")
        return {"project": {"run": {"historyKeys": {"lastStep": last[-1] if last else -1}}}}

    def on_RunParquetHistory(self, variables: dict[str, Any]) -> dict[str, Any]:
        run = self.runs[variables["runName"]]
        rows = [row for row in run.history if all(key in row for key in variables["liveKeys"])]
        return {"project": {"run": {"parquetHistory": {"parquetUrls": [], "liveData": rows}}}}

    def on_SampledHistoryPage(self, variables: dict[str, Any]) -> dict[str, Any]:
        spec = json.loads(variables["spec"])
        rows = [row for row in self.runs[variables["run"]].history if all(key in row for key in spec["keys"])]
        page = [row for row in rows if spec["minStep"] <= row["_step"] <= spec["maxStep"]]
        assert len(page) <= spec["samples"], "the server would leave rows out"
        return {"project": {"run": {"sampledHistory": [page]}}}

    def on_CreateRunFiles(self, variables: dict[str, Any]) -> dict[str, Any]:
        files = [{"name": name, "uploadUrl": f"{self.url}/{variables['run']}/{name}"} for name in variables["files"]]
        return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}

    def on_ArtifactType(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"project": {"artifact": None}}

    def on_CreateArtifact(self, variables: dict[str, Any]) -> dict[str, Any]:
        same = [one for one in self.artifacts if one["digest"] == variables["input"]["digest"]]
        if not same:  # the server keeps equal contents once
            self.artifacts.append(variables["input"])
        number = self.artifacts.index(same[0]) if same else len(self.artifacts) - 1
        state = "COMMITTED" if same else "PENDING"
        artifact = {"id": f"artifact{number}", "state": state, "artifactSequence": {"latestArtifact": None}}
        return {"createArtifact": {"artifact": artifact}}

    def on_CreateArtifactManifest(self, variables: dict[str, Any]) -> dict[str, Any]:
        upload = {"id": "f", "uploadUrl": f"{self.url}/manifest/{variables['artifactID']}", "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": variables["artifactID"], "file": upload}}}

    def on_UpdateArtifactManifest(self, variables: dict[str, Any]) -> dict[str, Any]:
        upload = {"id": "f", "uploadUrl": f"{self.url}/manifest/{variables['artifactManifestID']}", "uploadHeaders": []}
        return {"updateArtifactManifest": {"artifactManifest": {"id": "m", "file": upload}}}

    def on_CreateArtifactFiles(self, variables: dict[str, Any]) -> dict[str, Any]:
        edges = []
        for file in variables["input"]["artifactFiles"]:
            path = f"{file['artifactID']}/{file['name']}"
            node = {"storagePath": path, "uploadUrl": f"{self.url}/{path}", "uploadHeaders": []}
            edges.append({"node": node | {"uploadMultipartUrls": None, "artifact": {"id": file["artifactID"]}}})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def on_CommitArtifact(self, variables: dict[str, Any]) -> dict[str, Any]:
        return {"commitArtifact": {"artifact": {"id": variables["artifactID"], "digest": "0"}}}

    def on_UpsertSweep(self, variables: dict[str, Any]) -> dict[str, Any]:
        self.sweep = variables["config"]
        self._todo = list(_trials(yaml.safe_load(self.sweep)))
        project = {"id": "p", "name": variables["projectName"], "entity": {"id": "e", "name": ENTITY}}
        return {"upsertSweep": {"sweep": {"name": SWEEP, "project": project}, "configValidationWarnings": []}}

    def on_SweepWithRuns(self, _: dict[str, Any]) -> dict[str, Any]:
        sweep = {"id": "s", "name": SWEEP, "state": "RUNNING", "config": self.sweep, "createdAt": "2026-01-01T00:00:00"}
        nothing = ("description", "heartbeatAt", "updatedAt", "controller", "scheduler")
        more = {"method": "grid", "earlyStopJobRunning": False, "runs": {"edges": []}} | dict.fromkeys(nothing)
        return {"project": {"sweep": sweep | more}}

    def on_CreateAgent(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"createAgent": {"agent": {"id": "agent"}}}

    def on_Heartbeat(self, variables: dict[str, Any]) -> dict[str, Any]:
        running = any(json.loads(variables.get("runState") or "{}").values())
        commands: list[dict[str, Any]] = []
        if not running and self._todo:
            trial = self._todo.pop(0)
            self.trials.append(trial)
            arguments = {key: {"value": value} for key, value in trial.items()}
            program = yaml.safe_load(self.sweep).get("program", "")
            run_id = f"trial{len(self.trials)}"
            commands = [{"type": "run", "run_id": run_id, "program": program, "args": arguments}]
        elif not running:
            commands = [{"type": "exit"}]
        return {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": json.dumps(commands)}}

    def _describe(self, run: Run) -> dict[str, Any]:
        project = {"id": "p", "name": run.project, "entity": {"id": "e", "name": ENTITY}}
        keys = ("config", "tags", "displayName", "groupName", "jobType")
        described = {key: run.bucket.get(key) for key in keys} | {"group": run.bucket.get("groupName")}
        summary = json.dumps(run.summary)
        return described | {"id": f"id-{run.name}", "name": run.name, "project": project, "summaryMetrics": summary}


def _trials(sweep: dict[str, Any]) -> Any:
    """The trials of a sweep: all of a grid, `run_cap` of a random search."""
    parameters = sweep["parameters"]
    if sweep["method"] == "grid":
        choices = [entry.get("values") or [entry["value"]] for entry in parameters.values()]
        yield from (dict(zip(parameters, values, strict=True)) for values in itertools.product(*choices))
        return
    rng = random.Random(0)
    for _ in range(sweep["run_cap"]):
        yield {name: _draw(entry, rng) for name, entry in parameters.items()}


def _draw(entry: dict[str, Any], rng: random.Random) -> Any:
    if "min" in entry:
        return rng.uniform(entry["min"], entry["max"])
    return rng.choice(entry.get("values") or [entry["value"]])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _body(self) -> bytes:
        if "chunked" in (self.headers.get("Transfer-Encoding") or ""):
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _send(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._send({})

    def do_PUT(self) -> None:
        body = self._body()
        with self.server.lock:
            self.server.uploads[self.path] = body
        self._send({})

    def do_POST(self) -> None:
        body = self._body()
        with self.server.lock:
            if self.path.endswith("/file_stream"):
                self.server.stream(self.path.split("/")[-2], json.loads(body))
                answer: dict[str, Any] = {"exitcode": None, "limits": {}}
            elif self.path.endswith("/graphql"):
                query = json.loads(body)
                operation = re.search(r"(?:query|mutation)\s+(\w+)", query["query"])
                name = operation[1] if operation else "?"
                answer = {"data": self.server.answer(name, query.get("variables") or {})}
            else:
                answer = {}
        if self.server._serving:
            self._send(answer)
