"""The commands of the README and the examples of the documentation, tried as they are written."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from eventrunner.cli.connection import Api, Connection
from eventrunner.cli.guest_projects import TEMPLATES, read_project
from eventrunner.cli.main import cli
from eventrunner.cli.platform_process import running_platform
from eventrunner.cli.provision import provision
from eventrunner.rules import compile_rules
from eventrunner.storage.stores import open_store

from tests.support import free_port, require, unavailable
from tests.support_guests import component_guest, require_toolchain

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(path: Path, language: str, *, section: str = "") -> list[str]:
    """Of the whole document, or of what is below one heading of the second level."""
    text = path.read_text()
    if section:
        part = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        assert part is not None
        text = part[1]
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The repository as somebody has it who ran `make setup`, with a state of its own."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    return tmp_path


@contextmanager
def running(command: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["bash", "-ec", command], cwd=folder, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert any(b'"ready"' in line for line in process.stdout)
        try:
            yield process
        finally:
            subprocess.run(["pkill", "-INT", "-P", str(process.pid)], check=False)
            assert process.wait(30) == 0


@pytest.mark.pipeline
def test_the_commands_of_the_readme_work(clone: Path) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 8080)) == 0:
            unavailable("port 8080, which the README names, is in use")
    demo, dev, send = blocks(ROOT / "README.md", "sh")
    subprocess.run(["bash", "-ec", demo], cwd=clone, check=True, timeout=300)
    assert not list(clone.glob(".eventrunner*"))
    with running(dev, clone):
        subprocess.run(["bash", "-ec", send], cwd=clone, check=True, timeout=60)
        store = open_store(f"sqlite:///{clone / '.eventrunner' / 'events.db'}")
        store.migrate()
        deadline = time.monotonic() + 30
        while not (events := store.list("acme", type="shop.order").bodies):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        store.close()
        assert b'"amount": 950' in events[0] or b'"amount":950' in events[0]


@pytest.mark.pipeline
def test_the_commands_of_the_document_on_replay_work(tmp_path: Path) -> None:
    with running_platform(tmp_path) as platform:
        environ = {
            **os.environ,
            "EVENTRUNNER_URL": platform.url,
            "EVENTRUNNER_KEY": platform.admin_key,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

        async def prepare() -> None:
            async with Api(Connection(platform.url, platform.admin_key)) as api:
                rule = 'rule Alert { when Event.data.amount > 900 then Emit("alert"); Retract("Alert"); }'
                await provision(api, ["shop"], rules={"alerts": rule})

        outputs = []
        for number, block in enumerate(blocks(ROOT / "docs" / "replay.md", "sh")):
            done = subprocess.run(["bash", "-ec", block], env=environ, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, (block, done.stderr)
            outputs.append(done.stdout)
            if number == 0:
                asyncio.run(prepare())
                time.sleep(5)
        _, letters, replayed, history = outputs
        assert "1 shown of 1 in all (event-runner 1)" in letters
        assert "1 replayed, 0 cannot be" in replayed
        assert "rules fired: Alert ×1" in history


@contextmanager
def started(command: str, folder: Path, environ: dict[str, str], number: signal.Signals) -> Iterator[str]:
    """The first line that the command prints; the signal ends it."""
    # bash becomes a single command itself, so the signal reaches it.
    with subprocess.Popen(
        ["bash", "-ec", f"exec {command}"], cwd=folder, stdout=subprocess.PIPE, env=environ
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().decode()
        finally:
            process.send_signal(number)
            process.wait(60)


@pytest.mark.pipeline
@pytest.mark.peer
def test_the_commands_of_the_event_stores_document_work(clone: Path) -> None:
    require("java", "mvn")
    environ = {**os.environ, "PATH": f"{clone}/.venv/bin:{os.environ['PATH']}"}
    node, dev, rebuild = blocks(ROOT / "docs" / "event-store.md", "sh")
    port = str(free_port())
    dev = "env " + dev.replace("9042", port).strip() + " --port 0"

    def run(command: str) -> str:
        done = subprocess.run(["bash", "-ec", command], cwd=clone, env=environ, capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    with started(node.replace("9042", port), clone, environ, signal.SIGKILL) as address:
        assert address == f"127.0.0.1:{port}\n"
        with started(dev, clone, environ, signal.SIGINT) as ready:
            assert '"ready": true' in ready
            run("eventrunner tenant create acme")
            event = '{"specversion":"1.0","id":"1","source":"/s","type":"t","time":"2026-01-05T00:00:00Z"}'
            run(f"echo '{event}' | eventrunner emit - --tenant acme")
            deadline = time.monotonic() + 60
            while "1 events of 1 tenants checked" not in (answer := run(rebuild)):
                assert time.monotonic() < deadline, answer
            assert run("eventrunner tenant retention acme --days 30") == "30 days\n"
            assert run("eventrunner tenant sweep").startswith("acme: 0 events")
            assert "1 events" in run("eventrunner tenant erase acme --yes --discard-unbilled")


@pytest.mark.pipeline
def test_the_commands_of_the_document_on_rules_work(tmp_path: Path) -> None:
    document = ROOT / "docs" / "grl.md"
    with running_platform(tmp_path / "platform") as platform:
        environ = {
            **os.environ,
            "EVENTRUNNER_URL": platform.url,
            "EVENTRUNNER_KEY": platform.admin_key,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        outputs = []
        for block in blocks(document, "sh"):
            if "dry-run" in block:
                _until_stored(platform.data_dir / "events.db", "shop", "o-1")
            done = subprocess.run(
                ["bash", "-ec", block], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 0, (block, done.stderr)
            outputs.append(done.stdout)
    shown = blocks(document, "text")
    _, checked, explained, _, tried, _, changed, stored, way, _ = outputs
    assert checked == "orders.grl: 1 rule, no errors\n"
    assert explained == shown[2]
    assert "a draft of shop/orders against nothing in force" in tried
    assert "1 events, 1 evaluated, 1 match" in tried
    assert "orders has version 2; version 2 is in force" in changed
    assert changed.endswith("shop/orders: version 1 is in force\nshop/orders: none is in force\n")
    assert stored.count("cycle 1: Large fires") == 2
    assert "== rules of shop: orders\nrule Large (orders): holds" in way
    rules = blocks(document, "sh")[0].split("<<'END'\n")[1].split("END\n")[0]
    (tmp_path / "orders.grl").write_text(rules.replace(" ==", " ="))
    wrong = subprocess.run(
        ["bash", "-c", blocks(document, "sh")[1]], cwd=tmp_path, env=environ, capture_output=True, text=True
    )
    assert (wrong.returncode, wrong.stderr) == (1, shown[0])
    (tmp_path / "orders.grl").write_text(rules.replace('        Retract("Large");\n', ""))
    warned = subprocess.run(
        ["bash", "-c", blocks(document, "sh")[1]], cwd=tmp_path, env=environ, capture_output=True, text=True
    )
    assert (warned.returncode, warned.stdout) == (0, shown[1])


@pytest.mark.pipeline
def test_the_commands_of_the_document_on_consumers_work(tmp_path: Path) -> None:
    require_toolchain()
    (tmp_path / "alerts.wasm").write_bytes(component_guest())
    with running_platform(tmp_path / "platform") as platform:
        environ = {
            **os.environ,
            "EVENTRUNNER_URL": platform.url,
            "EVENTRUNNER_KEY": platform.admin_key,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

        def run(command: str) -> str:
            done = subprocess.run(
                ["bash", "-ec", command], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120
            )
            assert done.returncode == 0, (command, done.stderr)
            return done.stdout

        run("eventrunner tenant create acme")
        environ["EVENTRUNNER_KEY"] = run("eventrunner tenant key acme --role user").strip()
        made, deployed = map(run, blocks(ROOT / "docs" / "consumers.md", "sh", section="Signing"))
        key = made[:16]
        assert made.endswith(f"alerts.signed.wasm is signed, as a whole, by the key {key}\n")
        assert f"{key} may sign consumers of acme\n" in deployed
        assert "acme/alerts is stored" in deployed
        run(f"eventrunner tenant signing-key remove acme {key}")


def _until_stored(file: Path, tenant: str, event: str) -> None:
    store = open_store(f"sqlite:///{file}")
    store.migrate()
    deadline = time.monotonic() + 30
    while not store.find(tenant, event):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    store.close()


@pytest.mark.timeout(900)
def test_a_consumer_is_written_in_the_five_minutes_of_its_document(tmp_path: Path) -> None:
    (tool,) = read_project(TEMPLATES / "python").tools
    if shutil.which(tool.command, path=str(Path(sys.executable).parent)) is None:
        unavailable(f"needs {tool.command}: {tool.get}")
    document = ROOT / "docs" / "consumers.md"
    write, attempt = blocks(document, "sh", section="Write one in five minutes")
    shown = blocks(document, "text", section="Write one in five minutes")
    environ = {
        **os.environ,
        "EVENTRUNNER_MODULE_CACHE": str(tmp_path / "native"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }

    def run(block: str, folder: Path) -> str:
        command = ["bash", "-ec", block]
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, (block, done.stderr)
        return done.stdout

    built = run(write, tmp_path)
    ran = run(attempt, tmp_path / "late-flights")
    assert _unmeasured(built).endswith(_unmeasured(shown[0]))
    assert _unmeasured(ran).startswith(_unmeasured(shown[1]))
    others = ran.splitlines()[len(shown[1].splitlines()) :]
    assert [line.split(",")[0] for line in others] == [
        "flight.departed a: handled",
        "flight.departed b: handled",
        "  info  print: flight b left 60 minutes late",
        '  published to results.acme.flight.late: {"flight": "b"',
        "2 handed over",
    ]
    wrong = '{"specversion": "1.0", "id": "c", "source": "/s", "type": "t", "data": {"dep_delay": "1"}}'
    failing = f"echo '{wrong}' | eventrunner consumer run --events - || true"
    reason = "  TypeError: '<' not supported between instances of 'str' and 'int' ("
    assert run(failing, tmp_path / "late-flights").splitlines()[1].startswith(reason)


def _unmeasured(text: str) -> str:
    """Without what differs from one machine and one run to the next."""
    return re.sub(r"\b\d[\d.]*(?= (?:bytes|fuel|ms|MiB))", "#", text)


def test_rules_in_the_documentation_compile() -> None:
    texts = [text for path in DOCUMENTS for text in blocks(path, "grl")]
    assert texts
    for text in texts:
        assert compile_rules(text, name="documentation")


def test_commands_that_the_documentation_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for path in DOCUMENTS:
        text = path.read_text()
        for target in re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE):
            assert f"\n{target}:" in makefile, (path, target)
        for words in re.findall(r"`eventrunner ((?:[a-z][a-z-]* ?)+)", text):
            command: click.Command = cli
            for word in words.split():
                assert isinstance(command, click.Group), (path, words)
                found = command.get_command(click.Context(command), word)
                assert found is not None, (path, words)
                command = found


def test_links_between_documents_lead_somewhere() -> None:
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
            assert (path.parent / target).exists(), (path, target)
