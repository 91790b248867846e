# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules virt_rbd_image and virt_rbd_image_info do."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .ceph import TIMEOUTS
from .ceph_image import ImageStore, NewImage
from .domain_xml import NodeConfig
from .errors import Backend, Invalid, VirtfleetError
from .image_names import split
from .image_plan import Descendant, Seen, StoredImage, Wanted, decide_image, read_checksum, same_image
from .image_source import Content, Source, content_of, open_source, verify
from .plan_types import GIB, Step
from .progress import Progress
from .run import DAY_SECONDS, fail, storage

MIB = 1024**2


class ImageRun:
    """One image: everything that the steps of its plan need."""

    def __init__(self, module: AnsibleModule, node: NodeConfig, store: ImageStore) -> None:
        params = module.params
        self.module = module
        self.params = params
        self.node = node
        self.store = store
        self.wanted = Wanted(
            name=params["name"],
            present=params["state"] == "present",
            checksum=read_checksum(params["checksum"]),
            reuse=params["reuse"] and params["state"] == "present",
            trash=params["trash"],
        )

    def observe(self) -> Seen:
        """Read everything that the plan is decided by."""
        name, versions = self.wanted.name, self.store.versions(self.wanted.name)
        removed = not self.wanted.present and name in versions
        return Seen(versions, self.store.descendants(name) if removed else ())

    def bring(self, name: str) -> None:
        """Import the image from its source; nothing is parsed before its checksum was compared, if it has one."""
        params = self.params
        progress = Progress(self.module, f"import {name}", "MiB", MIB)
        with open_source(params["src"], params["url"], self.wanted.checksum, progress) as source:
            content = content_of(source)
            with self.store.new(name) as image:
                if content.kind == "raw":
                    image.write(content.chunks())
                    self._verify(source)
                else:
                    with self._file(content) as path:
                        self._verify(source)
                        self._convert(path, content.kind, image)
                image.describe(source.checksums())

    def _verify(self, source: Source) -> None:
        verify(source.checksums(), self.wanted.checksum, source.label)

    @contextmanager
    def _file(self, content: Content) -> Iterator[str]:
        """The content as a file, since formats with tables are not read from their beginning to their end."""
        if self.params["src"] is not None and not content.packed:
            yield self.params["src"]
            return
        directory = Path(self.params["cache_dir"])
        file = directory / f"{self.wanted.name}.unpacked"
        try:
            try:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as target:
                    target.writelines(content.chunks())
            except OSError as error:
                raise VirtfleetError(
                    "no_capacity", f"{file} cannot be written: {error.strerror}", "Make room there, or set cache_dir."
                ) from None
            yield str(file)
        finally:
            file.unlink(missing_ok=True)

    def _convert(self, path: str, kind: str, image: NewImage) -> None:
        """Have qemu-img write the image: straight into Ceph, with the format given, so that none is guessed."""
        image.resize(self._virtual_size(path, kind))
        self._qemu_img("convert", "-n", "--target-is-zero", "-f", kind, "-O", "raw", path, self._target(image.name))

    def _virtual_size(self, path: str, kind: str) -> int:
        """Bytes of the disk in the file.

        Raises:
            Invalid: it is damaged, or would have qemu-img read other files of this node.
        """
        info = json.loads(self._qemu_img("info", "--output=json", "-f", kind, path))
        problems = foreign_files(info, path)
        if not problems and self._qemu_img_code("check", "-q", "-f", kind, path) in _DAMAGED:
            problems = ["it is damaged or truncated (see 'qemu-img check')"]
        if problems:
            raise Invalid(problems, f"The {kind} image cannot be imported", "Nothing was imported.")
        return int(info["virtual-size"])

    def _target(self, name: str) -> str:
        """How qemu-img calls an image of the pool, with the same waits as ours."""
        options = {"id": self.node.ceph_client, "conf": self.node.ceph_conf, **TIMEOUTS}
        parts = [f"{_escaped(self.node.ceph_pool)}/{_escaped(name)}"]
        return "rbd:" + ":".join(parts + [f"{key}={_escaped(value)}" for key, value in options.items()])

    def _qemu_img(self, *arguments: str) -> str:
        code, output, errors = self.module.run_command(["qemu-img", *arguments])
        if code != 0:
            raise Backend(f"qemu-img {arguments[0]} failed: {errors.strip()}", "Nothing was imported.")
        return str(output)

    def _qemu_img_code(self, *arguments: str) -> int:
        return int(self.module.run_command(["qemu-img", *arguments])[0])


# What 'qemu-img check' says of a file that it could not read to its end, and of a damaged one.
_DAMAGED = (1, 2)

EXECUTORS: dict[str, Callable[[ImageRun, Step], None]] = {
    "import": lambda run, step: run.bring(step.target),
    "trash": lambda run, step: run.store.trash(step.target, run.params["retention_days"] * DAY_SECONDS),
    "remove": lambda run, step: run.store.remove(step.target),
}


def run_image_module(module: AnsibleModule) -> None:
    """Import or remove one image, and end the module."""
    try:
        with storage(module) as (node, ceph):
            run = ImageRun(module, node, ImageStore(ceph))
            seen = run.observe()
            plan = decide_image(run.wanted, seen)
            if plan.changed and not module.check_mode:
                for step in plan.steps:
                    EXECUTORS[step.action](run, step)
                seen = run.observe()
    except VirtfleetError as error:
        fail(module, error)
    name = same_image(run.wanted, seen)
    module.exit_json(
        changed=plan.changed,
        image=_view(name, seen.versions[name]) if name else None,
        actions=plan.actions,
        diff={"before": plan.before, "after": plan.after},
    )


def run_image_info_module(module: AnsibleModule) -> None:
    """Report the images of the pool and what hangs on them, and end the module."""
    name = module.params["name"]
    try:
        with storage(module) as (_node, ceph):
            store = ImageStore(ceph)
            images = store.images() if name is None else store.versions(name)
            trashed = [entry for entry in store.trashed() if name in (None, split(entry[1])[0])]
            module.exit_json(
                changed=False,
                images=[_lineage(full, image, store.descendants(full)) for full, image in images.items()],
                trashed=[_lineage(full, image, store.descendants(full, key)) for key, full, image in trashed],
                importing=store.importing(),
            )
    except VirtfleetError as error:
        fail(module, error)


def foreign_files(info: Mapping[str, Any], path: str) -> list[str]:
    """What in qemu-img's description of an image points out of its file: it would be read as root, whatever it is."""
    data = info.get("format-specific", {}).get("data", {})
    extents = [extent.get("filename") for extent in data.get("extents", [])]
    found = [info.get("backing-filename"), data.get("data-file"), *(name for name in extents if name != path)]
    problems = [f"it needs another file, {name}" for name in found if name]
    return problems + (["it is encrypted"] if info.get("encrypted") else [])


def _escaped(text: str) -> str:
    return re.sub(r"([\\:@=])", r"\\\1", text)


def _lineage(name: str, image: StoredImage, descendants: Iterable[Descendant]) -> dict[str, Any]:
    return _view(name, image) | {
        "created_at": image.created_at,
        "checksums": dict(image.checksums),
        "volumes": [asdict(descendant) for descendant in descendants],
    }


def _view(name: str, image: StoredImage) -> dict[str, Any]:
    word, version = split(name)
    size = math.ceil(image.size_bytes / GIB)
    return {"name": name, "image": word, "version": version, "size_gib": size, "snapshot": image.snapshot}
