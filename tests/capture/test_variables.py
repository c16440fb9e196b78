from labrun.capture.variables import VALUE_LIMIT, recorded_variables


def test_only_variables_on_the_list_are_recorded() -> None:
    given = {
        "LANG": "C",
        "OMP_NUM_THREADS": "4",
        "HOME": "/home/ada",
        "HF_TOKEN": "x",
        "http_proxy": "http://u:p@h",
        "MKL_KEY": "x",
    }
    assert recorded_variables(given) == {"LANG": "C", "OMP_NUM_THREADS": "4"}


def test_an_address_among_them_loses_its_credentials() -> None:
    assert recorded_variables({"PYTHONWARNINGS": "https://u:p@h/x"}) == {"PYTHONWARNINGS": "https://h/x"}


def test_a_long_value_is_cut_and_says_so() -> None:
    value = recorded_variables({"PATH": "x" * (VALUE_LIMIT + 1)})["PATH"]
    assert value.startswith("x" * VALUE_LIMIT)
    assert value.endswith("… (8,193 characters)")
