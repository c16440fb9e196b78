from labrun.client.api import Client
from tests.cli.conftest import Shell


def test_a_family_is_drawn_from_its_oldest_ancestor(shell: Shell) -> None:
    first = shell.queue("--name", "first", "--note", "flat prior", "--", "true")
    second = shell.queue("--parent", "first", "--", "true")
    third = shell.queue("--parent", second, "--hypothesis", "it holds", "--", "true")
    fourth = shell.queue("--parent", "first", "--", "false")
    shell.lab("wait", first, second, third, fourth, status=1)
    lines = shell.lab("tree", third).stdout.splitlines()
    assert lines[0].startswith(f"{first} first  succeeded  flat prior")
    assert lines[1].startswith(f"├── {second}  succeeded")
    assert lines[2].startswith(f"│   └── {third}  succeeded  it holds")
    assert lines[2].endswith("  <")
    assert lines[3].startswith(f"└── {fourth}  failed")
    root = shell.json("tree", fourth)
    assert [child["label"] for child in root["children"]] == [second, fourth]


def test_children_that_are_too_many_to_draw_are_not_forgotten(shell: Shell) -> None:
    first = shell.queue("--", "true")
    client = Client(shell.home / "server.sock", "main")
    target = {"kind": "program", "name": "true", "argv": ["/bin/true"]}
    told = {"parent_run": shell.experiment(first)["run_id"]}
    spec = {"target": target, "source": {"cwd": "/", "cwd_is_live": True}, "resources": {"cpus": 1}, "narrative": told}
    for number in range(201):
        client.submit({"spec": spec, "duplicates": "new"}, key=f"child-{number:06}")
    client.close()
    lines = shell.lab("tree", first).stdout.splitlines()
    assert (len(lines), lines[-1]) == (202, f"… more: `lab list --parent {first}`")
    assert len(shell.lab("list", "--quiet", "--limit", "1000", "--parent", first).stdout.split()) == 201
    quiet = shell.lab("tree", "--quiet", first).stdout.split()
    assert (quiet[0], len(quiet)) == (first, 201)


def test_one_without_a_family_stands_alone(shell: Shell) -> None:
    label = shell.queue("--", "true")
    shell.lab("wait", label)
    assert len(shell.lab("tree").stdout.splitlines()) == 1
    assert "not_found" in shell.lab("tree", "--json", "EXP-999", status=1).stdout
