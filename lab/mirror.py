"""The lab's artifact mirror: what clusters would fetch from the Internet, over plain HTTP, from a directory.

    /k3s/<version>/k3s              the k3s artifact; beside it sha256sum-amd64.txt, as a release has it; and for Arm
    /charts/<name>-<version>.tgz    Helm charts
    /v2/...                         the pull half of the OCI distribution API

:func:`prepare_mirror` lays the directory out, and ``python -m lab.mirror --listen HOST:PORT --root DIR`` serves it; the
directory may change while it is served. A repository lies below the registry that it stands in for, so that
docker.io/cilium/cilium and quay.io/cilium/cilium are two: a mirror-aware client (containerd) names that registry in the
query parameter ``ns``, and any other client gives it as the first part of the name, or leaves docker.io out.

    registry/blobs/sha256/<hex>
    registry/repositories/<registry>/<name>/<tag>.json     {"mediaType", "digest", "size"} of the manifest
    registry/manifests/sha256/<hex>.json                   the same by digest

It takes nothing in: no push, no catalog, no authentication, no TLS.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import logging
import re
import signal
import sys
import tarfile
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml
from aiohttp import web

from domain.k3s_release import BINARIES, CHECKSUMS
from lab import k3s_artifact
from lab.images import Blob, Image
from toolchain import cache

DEFAULT_REGISTRY: Final = "docker.io"

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
_CHART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}\.tgz")
_NAME = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*")
_REGISTRY = re.compile(r"[a-z0-9][a-z0-9.-]*(?::[0-9]+)?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_LOG = logging.getLogger("lab.mirror")

# --- Laying out -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mirror:
    """What :func:`prepare_mirror` laid out."""

    root: Path
    k3s_sha256: str
    charts: tuple[str, ...]
    """File names below /charts."""


def prepare_mirror(
    root: Path, *, k3s_version: str, images: Iterable[Image], charts: Iterable[Path] = (), k3s: bytes | None = None
) -> Mirror:
    """Lay out (or bring up to date) the directory ROOT and return what belongs into settings, the k3s checksum first.

    ``k3s`` is the k3s artifact for x86-64, the stand-in when it is not given. ``charts`` are chart directories (with a
    Chart.yaml); each is packed under its own name and version. Files are hard links where the file system allows. Equal
    inputs give equal bytes.
    """
    if _VERSION.fullmatch(k3s_version) is None:
        raise ValueError(f"{k3s_version!r} is not a version")
    release, checksums = root / "k3s" / k3s_version, {}
    for architecture, file in BINARIES.items():
        given = k3s if architecture == "amd64" else None
        data = k3s_artifact.pack(architecture=architecture) if given is None else given
        checksums[architecture] = hashlib.sha256(data).hexdigest()
        _write(release / file, data)
        _write(release / CHECKSUMS[architecture], f"{checksums[architecture]}  {file}\n".encode())
    names = []
    for chart in charts:
        name, packed = pack_chart(chart)
        _write(root / "charts" / name, packed)
        names.append(name)
    for image in images:
        add_image(root, image)
    return Mirror(root, checksums["amd64"], tuple(names))


def add_image(root: Path, image: Image) -> None:
    """Make an image pullable."""
    registry, name, tag = split_reference(image.reference)
    for blob in (*image.blobs, image.manifest):
        target = root / "registry" / "blobs" / blob.digest.replace(":", "/")
        if not target.exists():
            cache.place(blob.path, target)
    descriptor = _descriptor(image.manifest)
    hexadecimal = image.manifest.digest.removeprefix("sha256:")
    _write(root / "registry" / "manifests" / "sha256" / f"{hexadecimal}.json", descriptor)
    _write(root / "registry" / "repositories" / registry / name / f"{tag}.json", descriptor)


def _descriptor(blob: Blob) -> bytes:
    return json.dumps({"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}).encode()


def split_reference(reference: str) -> tuple[str, str, str]:
    """Registry, name and tag of a full image reference: ``quay.io/cilium/cilium:v1``."""
    path, _, tag = reference.rpartition(":")
    registry, _, name = path.partition("/")
    if not (_REGISTRY.fullmatch(registry) and _NAME.fullmatch(name) and _TAG.fullmatch(tag)):
        raise ValueError(f"{reference!r} is not REGISTRY/NAME:TAG")
    return registry, name, tag


def pack_chart(directory: Path) -> tuple[str, bytes]:
    """A chart directory as ``helm package`` packs it: the file's name and its bytes, the same for the same files."""
    metadata = yaml.safe_load((directory / "Chart.yaml").read_text())
    name, version = str(metadata["name"]), str(metadata["version"])
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=6, mtime=0, filename="") as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for path in _chart_files(directory):
            member = tarfile.TarInfo(f"{name}/{path.relative_to(directory).as_posix()}")
            content = path.read_bytes()
            member.size = len(content)
            member.mode = 0o644
            tar.addfile(member, io.BytesIO(content))
    return f"{name}-{version}.tgz", buffer.getvalue()


def _chart_files(directory: Path) -> list[Path]:
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path.name != ".helmignore")
    # Helm reads a chart's metadata from the first entry that has it; its own packages begin with it.
    files.sort(key=lambda path: path != directory / "Chart.yaml")
    return files


def _write(path: Path, data: bytes) -> None:
    """Write in one step; what is served now is either the old or the new file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_bytes() == data:
        return
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(data)
    partial = Path(file.name)
    partial.chmod(0o644)
    partial.replace(path)


# --- Serving ----------------------------------------------------------------------------------------------------------


class RegistryError(web.HTTPException):
    """An error in the registry API's own format."""

    status_code = 404

    def __init__(self, code: str, message: str) -> None:
        document = {"errors": [{"code": code, "message": message}]}
        super().__init__(text=json.dumps(document), content_type="application/json")


def make_application(root: Path) -> web.Application:
    """The server over a directory that :func:`prepare_mirror` has laid out."""

    async def version_check(_request: web.Request) -> web.StreamResponse:
        return web.json_response({})

    async def k3s(request: web.Request) -> web.StreamResponse:
        version = request.match_info["version"]
        if _VERSION.fullmatch(version) is None:
            raise web.HTTPNotFound
        return _file(root / "k3s" / version / request.match_info["file"], "application/octet-stream")

    async def chart(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if _CHART.fullmatch(name) is None:
            raise web.HTTPNotFound
        return _file(root / "charts" / name, "application/gzip")

    async def manifest(request: web.Request) -> web.StreamResponse:
        descriptor = find_manifest(
            root / "registry", request.match_info["name"], request.match_info["reference"], request.query
        )
        digest = str(descriptor["digest"])
        return _file(blob_path(root / "registry", digest), str(descriptor["mediaType"]), digest)

    async def blob(request: web.Request) -> web.StreamResponse:
        digest = request.match_info["digest"]
        path = blob_path(root / "registry", digest)
        if not path.is_file():
            raise RegistryError("BLOB_UNKNOWN", f"there is no blob {digest}")
        return _file(path, "application/octet-stream", digest)

    async def tags(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        repository = find_repository(root / "registry", name, request.query)
        if repository is None:
            raise RegistryError("NAME_UNKNOWN", f"there is no repository {name}")
        return web.json_response({"name": name, "tags": sorted(path.stem for path in repository.glob("*.json"))})

    application = web.Application(middlewares=[_logged])
    # `allow_head` is aiohttp's default: every route answers HEAD as well.
    application.router.add_get("/v2/", version_check)
    application.router.add_get("/v2/{name:.+}/manifests/{reference}", manifest)
    application.router.add_get("/v2/{name:.+}/blobs/{digest}", blob)
    application.router.add_get("/v2/{name:.+}/tags/list", tags)
    of_releases = "|".join(re.escape(file) for file in (*BINARIES.values(), *CHECKSUMS.values()))
    application.router.add_get(f"/k3s/{{version}}/{{file:{of_releases}}}", k3s)
    application.router.add_get("/charts/{name}", chart)
    return application


def _file(path: Path, content_type: str, digest: str | None = None) -> web.StreamResponse:
    """The file by sendfile, with ranges; 404 when it is not there."""
    if not path.is_file():
        raise web.HTTPNotFound
    headers = {"Content-Type": content_type, "Docker-Distribution-Api-Version": "registry/2.0"}
    if digest is not None:
        headers |= {"Docker-Content-Digest": digest}
    return web.FileResponse(path, headers=headers, chunk_size=1 << 20)


@web.middleware
async def _logged(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response = await handler(request)
    except web.HTTPException as error:
        _LOG.info("%s %s %s %s", request.remote, request.method, request.path_qs, error.status)
        raise
    _LOG.info("%s %s %s %s", request.remote, request.method, request.path_qs, response.status)
    return response


def blob_path(registry: Path, digest: str) -> Path:
    """Where a blob lies; raises :class:`RegistryError` for what is no digest."""
    if _DIGEST.fullmatch(digest) is None:
        raise RegistryError("DIGEST_INVALID", f"{digest!r} is no sha256 digest")
    return registry / "blobs" / digest.replace(":", "/")


def find_repository(registry: Path, name: str, query: Mapping[str, str]) -> Path | None:
    """The directory of a repository's tags, by the registry in ``ns``, else in the name, else docker.io."""
    if _NAME.fullmatch(name) is None:
        raise RegistryError("NAME_INVALID", f"{name!r} is no repository name")
    namespace = query.get("ns")
    if namespace is not None and _REGISTRY.fullmatch(namespace) is None:
        raise RegistryError("NAME_INVALID", f"{namespace!r} is no registry")
    choices = (f"{namespace}/{name}",) if namespace else (name, f"{DEFAULT_REGISTRY}/{name}")
    for choice in choices:
        path = registry / "repositories" / choice
        if any(path.glob("*.json")):
            return path
    return None


def find_manifest(registry: Path, name: str, reference: str, query: Mapping[str, str]) -> dict[str, object]:
    """The descriptor of the manifest that a tag or a digest means."""
    repository = find_repository(registry, name, query)
    if repository is None:
        raise RegistryError("NAME_UNKNOWN", f"there is no repository {name} of {query.get('ns', DEFAULT_REGISTRY)}")
    if _DIGEST.fullmatch(reference):
        path = registry / "manifests" / f"{reference.replace(':', '/')}.json"
    elif _TAG.fullmatch(reference):
        path = repository / f"{reference}.json"
    else:
        raise RegistryError("MANIFEST_INVALID", f"{reference!r} is neither a tag nor a digest")
    if not path.is_file():
        raise RegistryError("MANIFEST_UNKNOWN", f"there is no manifest {name}:{reference}")
    descriptor: dict[str, object] = json.loads(path.read_text())
    return descriptor


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m lab.mirror", description="Serve the lab's artifact mirror.")
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    parser.add_argument("--root", required=True, type=Path)
    options = parser.parse_args(arguments)
    host, _, port = options.listen.rpartition(":")
    if not host or not port.isdigit():
        parser.error(f"--listen {options.listen}: expected HOST:PORT")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    web.run_app(make_application(options.root.resolve()), host=host, port=int(port), access_log=None, print=None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
