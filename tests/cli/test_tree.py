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


def test_one_without_a_family_stands_alone(shell: Shell) -> None:
    label = shell.queue("--", "true")
    shell.lab("wait", label)
    assert len(shell.lab("tree").stdout.splitlines()) == 1
    assert "not_found" in shell.lab("tree", "--json", "EXP-999", status=1).stdout
