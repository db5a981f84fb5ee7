"""The channel groups of a network that is trained: found and probed once, then read from their file.

Groups are bound to the network by two hashes, of its weights and of everything that its forward pass depends on
beside them. They hold for the sparse network too, which differs in its weights only. Whatever they are, the outputs
of the shrunk network are compared before it is written.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import msgspec
import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from compressor.channels import Branch, ChannelGroup, Member, Product, Role
from compressor.checkpoints import Network
from compressor.checkpoints.fingerprints import architecture_fingerprint, fingerprint
from compressor.files import write_bytes
from compressor.groups import find_groups
from compressor.records import Record

HEADER = "groups"


class _Member(Record, frozen=True, kw_only=True):
    """A `Member` without its index, which is a tensor of the file."""

    module: str
    role: Role
    tensors: tuple[tuple[str, int], ...]
    feeds: str | None


class _Group(Record, frozen=True, kw_only=True):
    name: str
    channels: int
    excluded: str | None
    members: tuple[_Member, ...]
    products: tuple[Product, ...]
    tie: str | None = None
    branch: Branch | None = None


class _Header(Record, frozen=True, kw_only=True):
    bound_to: tuple[str, str]
    groups: tuple[_Group, ...]


class KnownGroups:
    """The groups of ``network``, kept in ``file``."""

    def __init__(self, network: Network, file: Path) -> None:
        self._network, self._file = network, file
        self._groups: tuple[ChannelGroup, ...] | None = None
        self._in_file = False

    def get(self) -> tuple[ChannelGroup, ...]:
        """The groups, from the file if they are there and belong to this network, else found."""
        if self._groups is None:
            self._groups = self._read()
            self._in_file = self._groups is not None
        if self._groups is None:
            self._groups = find_groups(self._network.model, self._network.example_input())
        return self._groups

    def kept(self) -> tuple[ChannelGroup, ...]:
        """The groups, now also in the file."""
        groups = self.get()
        if not (self._in_file and self._file.exists()):
            self._write(groups)
            self._in_file = True
        return groups

    def _write(self, groups: tuple[ChannelGroup, ...]) -> None:
        header = _Header(bound_to=self._identity, groups=tuple(map(_plain, groups)))
        indices = {
            _key(place, number): member.index.contiguous().clone()
            for place, group in enumerate(groups)
            for number, member in enumerate(group.members)
        }
        write_bytes(self._file, safetensors.torch.save(indices, {HEADER: msgspec.json.encode(header).decode()}))

    def _read(self) -> tuple[ChannelGroup, ...] | None:
        """None when there is no file, or it is damaged, or belongs to another network."""
        try:
            with safe_open(self._file, framework="pt") as file:
                header = msgspec.json.decode(file.metadata()[HEADER], type=_Header)
                if header.bound_to != self._identity:
                    return None
                return tuple(_group(kept, place, file.get_tensor) for place, kept in enumerate(header.groups))
        except (OSError, SafetensorError, msgspec.MsgspecError, KeyError, TypeError):
            return None

    @cached_property
    def _identity(self) -> tuple[str, str]:
        """Hashes of the network's weights and architecture."""
        return fingerprint(self._network.model.state_dict()), architecture_fingerprint(self._network)


def _key(group: int, member: int) -> str:
    return f"{group}.{member}"


def _plain(group: ChannelGroup) -> _Group:
    members = tuple(
        _Member(module=member.module, role=member.role, tensors=member.tensors, feeds=member.feeds)
        for member in group.members
    )
    return _Group(
        name=group.name,
        channels=group.channels,
        excluded=group.excluded,
        members=members,
        products=group.products,
        tie=group.tie,
        branch=group.branch,
    )


def _group(kept: _Group, place: int, tensor: Callable[[str], Tensor]) -> ChannelGroup:
    members = tuple(
        Member(
            module=member.module,
            role=member.role,
            index=tensor(_key(place, number)),
            tensors=member.tensors,
            feeds=member.feeds,
        )
        for number, member in enumerate(kept.members)
    )
    return ChannelGroup(kept.name, kept.channels, members, kept.excluded, kept.tie, kept.products, kept.branch)
