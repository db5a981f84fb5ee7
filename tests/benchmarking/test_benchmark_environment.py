import pytest
from msgspec.structs import replace

from compressor.benchmarking import environment
from compressor.benchmarking.environment import describe, load_average, timing_warnings

CPUINFO = """processor\t: 0
model name\t: Example 9000
physical id\t: 0
core id\t: 0
flags\t: fpu avx2 avx512_vnni hypervisor

processor\t: 1
physical id\t: 0
core id\t: 0

processor\t: 2
physical id\t: 0
core id\t: 1
"""


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Write the file behind a path constant of the module; all others are missing."""
    for name in ("CPUINFO", "GOVERNOR", "QUOTA_V2"):
        monkeypatch.setattr(environment, name, tmp_path / name)
    monkeypatch.setattr(environment, "QUOTA_V1", (tmp_path / "QUOTA", tmp_path / "PERIOD"))
    monkeypatch.setattr(environment.platform, "machine", lambda: "x86_64")
    return lambda **files: [(tmp_path / name).write_text(text) for name, text in files.items()]


def test_the_processor_is_read(machine):
    machine(CPUINFO=CPUINFO)
    found = describe(())
    assert (found.cpu_model, found.physical_cpus) == ("Example 9000", 2)
    assert (found.flags, found.virtualised) == (("avx2", "avx512_vnni"), True)


def test_what_the_system_does_not_tell_is_none(machine):
    found = describe(())
    assert (found.physical_cpus, found.governor, found.virtualised, found.cpu_quota) == (None,) * 4


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"QUOTA_V2": "150000 100000\n"}, 1.5),
        ({"QUOTA_V2": "max 100000\n"}, None),
        ({"QUOTA": "200000\n", "PERIOD": "100000\n"}, 2.0),
        ({"QUOTA": "-1\n", "PERIOD": "100000\n"}, None),
    ],
)
def test_the_quota_of_the_container_is_read(machine, files, expected):
    machine(**files)
    assert describe(()).cpu_quota == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"busy_before": 2.4}, "the machine was busy: other work kept 2.4 of 4 processors busy before the measurement"),
        ({"busy_during": 0.9, "logical_cpus": 1}, "other work kept 0.9 of 1 processor busy during the measurement"),
        ({"busy_before": None}, "whether other work disturbed the timing is unknown: this system does not tell"),
        ({"busy_during": None, "load_before": (3.0, 0.0, 0.0)}, "whether other work disturbed the timing is unknown"),
        ({"governor": "powersave"}, "governor is powersave"),
        ({"cpu_quota": 1.5}, "may use 1.5 processors, fewer than 2 threads"),
    ],
)
def test_doubtful_circumstances_are_warned_of(machine, change, expected):
    quiet = replace(describe((0.1, 0.0, 0.0), 0.0, 0.0), logical_cpus=4)
    assert list(timing_warnings(quiet, 2)) == []
    (warning,) = timing_warnings(replace(quiet, **change), 2)
    assert expected in warning


def test_load_has_three_values_or_none():
    assert len(load_average()) in (0, 3)


def test_the_load_that_a_run_has_made_itself_is_not_held_against_the_machine():
    trained = replace(describe((3.9, 0.0, 0.0), 0.3, 0.2), logical_cpus=4)
    assert list(timing_warnings(trained, 2)) == []
