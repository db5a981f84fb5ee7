"""Where the nodes of a file really ran, and what ran elsewhere than it was asked to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from compressor.benchmarking.node_times import COMPILED
from compressor.benchmarking.process import FileProfile
from compressor.benchmarking.profiling import ProfiledNode
from compressor.errors import CompressorError
from compressor.records.benchmark import BenchmarkSettings, OperatorTime, ProviderShare

NAMED = 3


def operator_times(nodes: Sequence[ProfiledNode]) -> tuple[OperatorTime, ...]:
    """The nodes by operator and provider, what takes most time first."""
    found: dict[tuple[str, str], list[ProfiledNode]] = {}
    for node in nodes:
        found.setdefault((node.operator, node.provider), []).append(node)
    times = [
        OperatorTime(operator=operator, provider=provider, nodes=len(of_it), us=_us(of_it))
        for (operator, provider), of_it in found.items()
    ]
    return tuple(sorted(times, key=lambda one: -one.us))


def provider_shares(profile: FileProfile) -> tuple[ProviderShare, ...]:
    """The nodes by provider, the provider that was asked for first; what it compiled into one counts as what it was."""
    found: dict[str, list[ProfiledNode]] = {profile.asked: []}
    for node in profile.nodes:
        found.setdefault(node.provider, []).append(node)
    return tuple(
        ProviderShare(
            provider=provider,
            nodes=_nodes(profile, provider, of_it),
            shape_nodes=sum(node.of_shapes for node in of_it),
            us=_us(of_it),
        )
        for provider, of_it in found.items()
    )


def _nodes(profile: FileProfile, provider: str, of_it: Sequence[ProfiledNode]) -> int:
    compiled = any(node.operator == COMPILED for node in of_it)
    return profile.given if compiled and provider == profile.asked and profile.given is not None else len(of_it)


def check_placement(
    names: Sequence[str], profiles: Sequence[FileProfile], settings: BenchmarkSettings
) -> tuple[str, ...]:
    """What ran elsewhere, a warning for each file.

    `CompressorError` unless ``settings.allow_fallback``, and when nothing ran where it was asked to.
    """
    told = []
    for name, profile in zip(names, profiles, strict=True):
        if not (elsewhere := fallback(name, profile)):
            continue
        if all(node.provider != profile.asked for node in profile.nodes):
            raise CompressorError(elsewhere)
        if not settings.allow_fallback:
            raise CompressorError(f"{elsewhere}; --allow-fallback measures it nevertheless")
        told.append(elsewhere)
    return tuple(told)


def fallback(name: str, profile: FileProfile) -> str:
    """What of the file ran elsewhere than it was asked to, in words; nothing where only shapes did."""
    elsewhere = [node for node in profile.nodes if node.provider != profile.asked and not node.of_shapes]
    if not elsewhere:
        return ""
    shares = provider_shares(profile)
    places = ", ".join(sorted({node.provider for node in elsewhere}))
    return (
        f"{name}: {len(elsewhere)} of {sum(share.nodes for share in shares)} nodes and "
        f"{100 * _us(elsewhere) / max(_us(profile.nodes), 1e-9):.0f} % of the time are on {places} instead of "
        f"{profile.asked}: {', '.join(_largest(elsewhere))}"
    )


def _largest(nodes: Sequence[ProfiledNode]) -> Iterator[str]:
    operators = operator_times(nodes)
    for one in operators[:NAMED]:
        yield f"{one.operator} ({one.nodes})" if one.nodes > 1 else one.operator
    if more := sum(one.nodes for one in operators[NAMED:]):
        yield f"{more} more"


def _us(nodes: Sequence[ProfiledNode]) -> float:
    return sum(node.us for node in nodes)
