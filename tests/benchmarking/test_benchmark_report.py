import msgspec
from msgspec.structs import replace

from compressor.codec import decode, encode
from compressor.records.benchmark import BenchmarkReport


def test_a_report_survives_json(measured):
    assert decode(encode(measured), BenchmarkReport, "report") == measured


def test_unknown_values_survive_json(measured):
    (first, *rest) = measured.variants
    bare = replace(measured, variants=(replace(first, memory=None, macs=None, exporter=None), *rest))
    assert decode(encode(bare), BenchmarkReport, "report") == bare


def test_a_report_names_its_schema_and_its_writer(measured):
    plain = msgspec.json.decode(encode(measured))
    assert (plain["schema_version"], plain["kind"], plain["tool"]["name"]) == (2, "benchmark", "compressor")
