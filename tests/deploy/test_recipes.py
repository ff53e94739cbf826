"""The recipes for CI systems of docs/ci.md: their lines run here, in the shell that each system uses."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.installed import ROOT, environment, run, source, wheel

ACTION = ROOT / ".github" / "actions" / "guard" / "action.yml"
GITLAB = ROOT / "deploy" / "ci" / "gitlab-ci.yml"
JENKINS = ROOT / "deploy" / "ci" / "Jenkinsfile"
BASH = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")  # GitHub's `shell: bash`
SH = ("sh", "-xe", "-c")  # Jenkins' `sh`
URL = "http://127.0.0.1:{port}/e"
OPTIONS = (
    "--connections 60 --concurrency 60 --dwell 300ms --settle 150ms --sensitivity 1/10 --stall-after 10s "
    "--retention 0 --hold 0 --max-time 60s"
)
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
LONG = pytest.mark.soak(reason="the other cases of this recipe run the same lines")
pytestmark = pytest.mark.timeout(300)


def load(path: Path) -> dict[str, Any]:
    """YAML 1.1 reads the key ``on`` as true; it is not asked for here."""
    found = yaml.safe_load(path.read_text())
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel(tmp_path_factory.mktemp("package"))


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A checkout of a user's project, with a service that takes its port and a kind of leak."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(ROOT / "tests" / "services" / "plain_sse.py", folder / "app.py")
    return folder


class Runner:
    """GitHub's runner, as far as a composite action notices: expressions, inputs, outputs."""

    def __init__(self, tmp_path: Path, job: Path, checkout: Path, **inputs: str) -> None:
        self.action = load(ACTION)
        unknown = set(inputs) - set(self.action["inputs"])
        assert not unknown
        missing = [
            name for name, one in self.action["inputs"].items() if one.get("required") and name not in inputs
        ]
        assert not missing
        self.inputs = {
            name: inputs.get(name, str(one.get("default", ""))) for name, one in self.action["inputs"].items()
        }
        self.job, self.outputs = job, tmp_path / "outputs"
        self.outputs.touch()
        (tmp_path / "temp").mkdir()
        self.env = environment(
            tmp_path,
            GITHUB_OUTPUT=str(self.outputs),
            GITHUB_ACTION_PATH=str(checkout / ".github" / "actions" / "guard"),
            RUNNER_TEMP=str(tmp_path / "temp"),
        )

    def value(self, text: str) -> str:
        """A text with its expressions replaced."""

        def known(match: re.Match[str]) -> str:
            assert match[1].startswith("inputs."), match[1]
            return self.inputs[match[1].removeprefix("inputs.")]

        return EXPRESSION.sub(known, text)

    def run(self, *, installed: bool = False) -> list[subprocess.CompletedProcess[str]]:
        """Its steps with a script, until one fails. installed: without the first one, which installs the harness."""
        done = []
        for step in [one for one in self.action["runs"]["steps"] if "run" in one][int(installed) :]:
            assert step["shell"] == "bash"
            env = self.env | {name: self.value(text) for name, text in step.get("env", {}).items()}
            done.append(run(step["run"], BASH, self.job, env))
            if done[-1].returncode:
                break
        return done

    def step_outputs(self) -> dict[str, str]:
        """The outputs of its steps."""
        return dict(line.split("=", 1) for line in self.outputs.read_text().splitlines())


def test_the_action_installs_itself_and_finds_a_leak(tmp_path: Path, job: Path) -> None:
    """From a checkout, without a package index: the harness that runs is the one of the action's commit."""
    checkout = source(tmp_path / "checkout")
    options = f"{OPTIONS} --runtime none"  # the search for its place takes more CPU time than the rest
    runner = Runner(tmp_path, job, checkout, url=URL, command="python app.py {port} eventfd", options=options)
    installed, guarded = runner.run()
    assert installed.returncode == 0, installed.stderr
    assert (tmp_path / "temp" / "harness" / "bin" / "harness").is_file()
    assert guarded.returncode == 1, guarded.stderr
    assert runner.step_outputs() == {"exit-code": "1", "outcome": "leaking", "report": "leak-report"}
    assert (job / "leak-report" / "report.html").is_file()
    suite = ET.parse(job / "leak-report" / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")


@pytest.mark.parametrize(
    ("inputs", "code", "outcome"),
    [
        pytest.param({}, 0, "bounded", marks=LONG),
        pytest.param(
            {"options": f"{OPTIONS} --cycles 3 --sensitivity 1/100000"}, 3, "inconclusive", marks=LONG
        ),
        pytest.param(
            {"options": f"{OPTIONS} --cycles 3 --sensitivity 1/100000", "inconclusive": "pass"},
            0,
            "inconclusive",
            marks=LONG,
        ),
    ],
    ids=["healthy", "inconclusive", "inconclusive passes"],
)
def test_the_action_passes_and_fails_as_documented(
    tmp_path: Path, job: Path, package: Path, inputs: dict[str, str], code: int, outcome: str
) -> None:
    given = {
        "url": URL,
        "command": "python app.py {port}",
        "options": OPTIONS,
        "harness": str(package),
    } | inputs
    runner = Runner(tmp_path, job, tmp_path, **given)
    done = runner.run()
    assert done[-1].returncode == code, done[-1].stderr
    assert runner.step_outputs()["outcome"] == outcome
    assert runner.step_outputs()["exit-code"] == ("0" if outcome == "bounded" else "3")
    assert ("::warning::" in done[-1].stdout) == (outcome == "inconclusive" and code == 0)


def test_the_action_refuses_invalid_inputs_and_runs_no_shell_code_in_them(tmp_path: Path, job: Path) -> None:
    """The step that installs the harness has none of these inputs, so the tests' own installation is used."""
    planted = tmp_path / "planted"
    inputs = {
        "url": f"{URL}\n$(touch {planted})",
        "command": f"python app.py '{{port}}' ; touch {planted}",
        "options": f"`touch {planted}`",
    }
    runner = Runner(tmp_path, job, tmp_path, **inputs)
    assert set(runner.action["runs"]["steps"][0]["env"]) == {"HARNESS"}
    bin_folder = tmp_path / "temp" / "harness" / "bin"
    bin_folder.mkdir(parents=True)
    for name in ("python", "harness"):
        (bin_folder / name).symlink_to(Path(sys.executable).with_name(name))
    done = runner.run(installed=True)
    assert done[-1].returncode == 2
    assert runner.step_outputs() == {"exit-code": "2", "report": "leak-report"}
    assert not planted.exists()
    runner.inputs |= {"url": URL, "inconclusive": "maybe"}
    assert "expected fail or pass" in runner.run(installed=True)[-1].stdout


def test_the_action_has_the_form_that_github_requires() -> None:
    """https://docs.github.com/actions/creating-actions/metadata-syntax-for-github-actions"""
    action = load(ACTION)
    assert set(action) == {"name", "description", "inputs", "outputs", "runs"}
    assert action["runs"]["using"] == "composite"
    for name, one in action["inputs"].items():
        assert set(one) <= {"description", "required", "default"}, name
        assert one["description"]
    used = set(re.findall(r"inputs\.([a-z-]+)", ACTION.read_text()))
    assert used == set(action["inputs"])
    for step in action["runs"]["steps"]:
        assert set(step) <= {"name", "id", "if", "uses", "with", "shell", "env", "run"}
        assert ("run" in step) != ("uses" in step)
        assert "${{" not in step.get("run", ""), "an input in a script could order the shell about"
    for one in action["outputs"].values():
        name = EXPRESSION.fullmatch(one["value"])
        assert name
        assert name[1].removeprefix("steps.guard.outputs.") in ("exit-code", "outcome", "report")


def test_the_workflow_uses_inputs_and_outputs_that_the_action_has() -> None:
    action = load(ACTION)
    example = load(ROOT / ".github" / "workflows" / "guard.yml")["jobs"]["example"]
    uses = [step for step in example["steps"] if step.get("uses", "").startswith("./")]
    assert len(uses) == 2
    for step in uses:
        assert (ROOT / step["uses"] / "action.yml").is_file()
        assert set(step["with"]) <= set(action["inputs"])
    text = (ROOT / ".github" / "workflows" / "guard.yml").read_text()
    assert set(re.findall(r"steps\.leaky\.outputs\.([a-z-]+)", text)) <= set(action["outputs"])
    for script in re.findall(r"examples/\w+\.py", text):
        assert (ROOT / script).is_file()


def gitlab(name: str) -> dict[str, Any]:
    """One job with what it extends, and the variables of the file."""
    whole = load(GITLAB)
    one = whole[name]
    return {"variables": whole["variables"], **whole[one["extends"]], **one}


@pytest.mark.parametrize(
    ("kind", "more", "code", "counted"),
    [
        pytest.param("healthy", "", 0, None, marks=LONG),
        pytest.param("eventfd", "", 1, "failures", marks=LONG),
        pytest.param("healthy", "--cycles 3 --sensitivity 1/100000", 3, "skipped", marks=LONG),
    ],
    ids=["healthy", "leaking", "inconclusive"],
)
def test_the_gitlab_job_passes_fails_and_keeps_its_reports(
    tmp_path: Path, job: Path, package: Path, kind: str, more: str, code: int, counted: str | None
) -> None:
    one = gitlab("guard")
    (job / "requirements.txt").write_text("# nothing\n")
    variables = one["variables"] | {
        "HARNESS": str(package),
        "SERVICE_URL": URL,
        "SERVICE_COMMAND": f"python app.py {{port}} {kind}",
        "GUARD_OPTIONS": f"{OPTIONS} {more}",
    }
    env = environment(tmp_path, **variables)
    done = run("\n".join([*one["before_script"], *one["script"]]), BASH, job, env)
    assert done.returncode == code, done.stderr
    suite = ET.parse(job / one["artifacts"]["reports"]["junit"]).getroot()
    assert [name for name in ("failures", "errors", "skipped") if suite.get(name) == "1"] == (
        [counted] if counted else []
    )
    assert all((job / path).exists() for path in one["artifacts"]["paths"])
    assert one["allow_failure"] == {"exit_codes": [3]}
    assert one["artifacts"]["when"] == "always"


@LONG
def test_the_gitlab_soak_has_a_history_that_its_trend_reads(tmp_path: Path, job: Path, package: Path) -> None:
    one = gitlab("nightly-soak")
    variables = one["variables"] | {
        "HARNESS": str(package),
        "SERVICE_URL": URL,
        "SERVICE_COMMAND": "python app.py {port}",
        "GUARD_OPTIONS": OPTIONS.partition(" --max-time")[0],
        "SOAK_DURATION": "6s",
    }
    env = environment(tmp_path, **variables)
    done = run("\n".join([*one["before_script"], *one["script"]]), BASH, job, env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (job / one["cache"]["paths"][0]).is_file()
    assert "series, up to 1 run" in done.stdout


def test_the_gitlab_file_has_the_form_that_gitlab_requires() -> None:
    """https://docs.gitlab.com/ci/yaml/"""
    whole = load(GITLAB)
    assert all(isinstance(value, str) for value in whole["variables"].values())
    known = {
        "extends",
        "image",
        "before_script",
        "script",
        "rules",
        "timeout",
        "cache",
        "artifacts",
        "allow_failure",
    }
    for name in set(whole) - {"variables"}:
        assert set(whole[name]) <= known, name
        if not name.startswith("."):
            assert all(isinstance(line, str) for line in whole[name]["script"])
            assert whole[whole[name]["extends"]]


def jenkins() -> list[str]:
    """The shell scripts of the pipeline, with Groovy's escapes of a ''' string resolved."""
    return [
        text.replace("\\\\", "\\") for text in re.findall(r"'''\n(.*?)'''", JENKINS.read_text(), re.DOTALL)
    ]


def test_the_guard_of_the_jenkins_pipeline_fails_the_build_and_replaces_the_last_reports(
    tmp_path: Path, job: Path
) -> None:
    """With the tests' own installation, and a service that is judged within a second."""
    bin_folder = job / ".harness" / "bin"
    bin_folder.mkdir(parents=True)
    (bin_folder / "harness").symlink_to(Path(sys.executable).with_name("harness"))
    (job / "leak-report").mkdir()  # of the build before, in the same workspace
    (job / "leak-report" / "old.txt").touch()
    shutil.copy(ROOT / "tests" / "services" / "difficult.py", job / "app.py")
    env = environment(
        tmp_path, SERVICE_URL=URL, SERVICE_COMMAND="python3 app.py {port} login", GUARD_OPTIONS=OPTIONS
    )
    _, guard = jenkins()
    done = run(guard, SH, job, env)
    assert done.returncode == 1, done.stderr
    assert ET.parse(job / "leak-report.xml").getroot().get("failures") == "1"
    assert (job / "leak-report" / "report.html").is_file()
    assert not (job / "leak-report" / "old.txt").exists()


@pytest.mark.soak(reason="installs the package as the action does, and then runs the lines of the test above")
@pytest.mark.parametrize(("kind", "code"), [("healthy", 0), ("eventfd", 1)])
def test_the_jenkins_pipeline_passes_and_fails(
    tmp_path: Path, job: Path, package: Path, kind: str, code: int
) -> None:
    env = environment(
        tmp_path,
        HARNESS=str(package),
        SERVICE_URL=URL,
        SERVICE_COMMAND=f"python3 app.py {{port}} {kind}",
        GUARD_OPTIONS=OPTIONS,
    )
    (job / "leak-report").mkdir()  # of the build before, in the same workspace
    (job / "leak-report" / "old.txt").touch()
    install, guard = jenkins()
    assert run(install, SH, job, env).returncode == 0
    assert run(guard, SH, job, env).returncode == code
    suite = ET.parse(job / "leak-report.xml").getroot()
    assert suite.get("failures") == str(code)
    assert (job / "leak-report" / "report.html").is_file()
    assert not (job / "leak-report" / "old.txt").exists()


def test_the_jenkinsfile_is_complete() -> None:
    text = re.sub(r"'''.*?'''|'[^'\n]*'|\"[^\"\n]*\"|//[^\n]*", "", JENKINS.read_text(), flags=re.DOTALL)
    assert text.count("{") == text.count("}")
    assert text.count("(") == text.count(")")
    whole = JENKINS.read_text()
    assert whole.index("pipeline {") < whole.index("stages {") < whole.index("post {")
    for variable in ("HARNESS", "SERVICE_URL", "SERVICE_COMMAND", "GUARD_OPTIONS"):
        assert f"{variable} = " in whole
        assert any(f"${variable}" in script for script in jenkins())
    assert "code == 3" in whole
    assert "testResults: 'leak-report.xml'" in whole
