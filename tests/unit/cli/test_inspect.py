"""`optdsl inspect`."""

KEYS = {
    "statements",
    "live_statements",
    "dead_lines",
    "states",
    "hyperparameters",
    "hash",
    "state_bytes_per_weight",
    "bytes_read_per_weight",
    "bytes_written_per_weight",
    "bytes_depend_on_shape",
    "example_leaves",
    "arithmetic_per_weight",
    "properties",
    "hazards",
}


def test_the_papers_raw_program(cli, paper) -> None:
    """Program 8 of the paper: 21 statements, of which 9 are redundant, and `m` among the dead."""
    result = cli("inspect", paper / "program_8.opt", "--json")
    assert (result.code, result.err) == (0, "")
    sheet = result.json
    assert set(sheet) == KEYS
    assert sheet["statements"] == 21
    assert sheet["live_statements"] == 12
    assert sheet["dead_lines"] == [5, 6, 7, 8, 13, 19, 21, 22, 24]
    assert sheet["states"] == [
        {"name": "m", "kind": "array", "dtype": "float32", "live": False},
        {"name": "v", "kind": "array", "dtype": "float32", "live": True},
    ]
    assert sheet["hyperparameters"] == []
    assert sheet["state_bytes_per_weight"] == 4.0
    assert set(sheet["hash"]) == {"structural", "canonical", "behavioural"}
    assert all(len(digest) == 32 for digest in sheet["hash"].values())


def test_hashes_are_those_of_the_program_whatever_the_names(cli, write) -> None:
    one = write("one.opt", "def train(w, g, m, lr, b=0.9):\n    m = interp(g, m, b)\n"
                "    return lr * m, m\n")  # fmt: skip
    two = write("two.opt", '"""Else."""\n\ndef train(lr, gradient, x, y, β=0.9):\n'
                "    unused = abs(y)\n    x = interp(gradient, x, β)  # the average\n"
                "    return x * lr, x, unused\n")  # fmt: skip
    sheets = [cli("inspect", file, "--json").json for file in (one, two)]
    assert sheets[0]["hash"] == sheets[1]["hash"]
    assert sheets[1]["dead_lines"] == [4]


def test_states_of_all_kinds_and_dtypes(cli) -> None:
    text = (
        "def train(w, g, m: bfloat16, c: scalar, n: per_array, d, lr, step, used=0.5, idle=2.0):\n"
        "    m = interp(g, m, used)\n"
        "    c = c + 1\n"
        "    n = norm(m) + n\n"
        "    return lr * m / (n + c), m, c, n, d + 1\n"
    )
    sheet = cli("inspect", "-", "--json", stdin=text).json
    assert sheet["states"] == [
        {"name": "m", "kind": "array", "dtype": "bfloat16", "live": True},
        {"name": "c", "kind": "scalar", "dtype": "float32", "live": True},
        {"name": "n", "kind": "per_array", "dtype": "float32", "live": True},
        {"name": "d", "kind": "array", "dtype": "float32", "live": False},
    ]
    assert sheet["hyperparameters"] == [
        {"name": "used", "default": 0.5, "live": True},
        {"name": "idle", "default": 2.0, "live": False},
    ]
    assert sheet["state_bytes_per_weight"] == 2.0
    assert (sheet["statements"], sheet["live_statements"]) == (3, 3)


def test_the_bytes_of_a_matrix_and_of_a_vector(cli) -> None:
    """Beside those of the arrays of the weights' shapes, which keep their meaning."""
    sheet = cli("inspect", "shampoo", "--json").json
    assert (sheet["state_bytes_per_weight"], sheet["bytes_depend_on_shape"]) == (4.0, True)
    assert sheet["example_leaves"] == [
        {"shape": [1024, 1024], "state_bytes": 8 << 20,
         "bytes_read": 16 << 20, "bytes_written": 12 << 20},
        {"shape": [1024], "state_bytes": 4 << 10, "bytes_read": 12 << 10, "bytes_written": 8 << 10},
    ]  # fmt: skip
    shown = cli("inspect", "shampoo").err
    assert "8 per weight of a float32 matrix of 1024 by 1024, 8388608 in all\n" in shown
    assert "12 read and 8 written per weight of the vector\n" in shown


def test_numbers_for_an_array_or_for_all_depend_on_no_shape(cli) -> None:
    for name, state_bytes in (("novograd", 4 << 10 | 4), ("dowg", 4 << 10 | 8)):
        assert (
            cli("inspect", name, "--json").json["example_leaves"][1]["state_bytes"] == state_bytes
        )
        assert "4 per weight, for float32 weights\n" in cli("inspect", name).err


def test_for_people(cli, paper) -> None:
    result = cli("inspect", paper / "program_8.opt")
    assert (result.code, result.out) == (0, "")
    assert "21, 12 live; dead on lines 5, 6, 7, 8, 13, 19, 21, 22, 24" in result.err
    assert "m: array, float32, dead" in result.err
    assert "v: array, float32\n" in result.err
    assert "4 per weight" in result.err
    assert "12 read and 8 written per weight" in result.err
    assert "weight decay     " in result.err


def test_the_property_sheet(cli) -> None:
    text = "def train(w, g, v, lr):\n    v = v + square(g)\n    return lr * (g / sqrt(v)), v\n"
    sheet = cli("inspect", "-", "--json", stdin=text).json
    found = sheet["properties"]
    assert (found["gradient_degree"], found["weight_decay"]) == (0, "none")
    assert (found["zero_gradient"], found["update_bound"]) == ("NaN", None)
    assert [(h["line"], h["code"]) for h in sheet["hazards"]] == [(3, "W201")]
    shown = cli("inspect", "-", stdin=text).err
    assert "line 3, `/`: divides by zero with zero gradients, at step 1" in shown


def test_a_name_of_the_standard_library(cli) -> None:
    sheet = cli("inspect", "lion", "--json").json
    assert [entry["name"] for entry in sheet["hyperparameters"]] == ["b1", "b2", "weight_decay"]
    assert sheet["dead_lines"] == []


def test_numbers_out_of_the_range_of_doubles_are_no_crash(cli) -> None:
    for exponent in ("1e200 * 1e200", "1e200 * 1e200 - 1e200 * 1e200"):
        text = f"def train(g, lr):\n    return lr * g ** ({exponent})\n"
        assert cli("inspect", "-", "--json", stdin=text).code == 0
