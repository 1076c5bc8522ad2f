"""The artifact mirror: its layout, and its answers to real HTTP requests."""

from __future__ import annotations

import asyncio
import hashlib
import json
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from yarl import URL

from lab import images, k3s_artifact, mirror
from lab.images import Blob, Image

VERSION = "v1.34.2+k3s1"
LAYER = bytes(range(256)) * 64
ARTIFACT = b"#!/usr/bin/python3\n"


def make_image(directory: Path, reference: str, layer: bytes = LAYER) -> Image:
    def blob(name: str, data: bytes, media_type: str) -> Blob:
        path = directory / f"{reference.replace('/', '_')}.{name}"
        path.write_bytes(data)
        return Blob(f"sha256:{hashlib.sha256(data).hexdigest()}", len(data), media_type, path)

    config = blob("config", b'{"os": "linux"}', images.CONFIG_TYPE)
    content = blob("layer", layer, images.LAYER_TYPE)
    document = images.manifest_document(config, [images.Layer(content, content.digest)])
    manifest = blob("manifest", json.dumps(document).encode(), images.MANIFEST_TYPE)
    return Image(reference, manifest, (config, content))


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return make_image(tmp_path, "quay.io/cilium/cilium:v1")


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    directory = tmp_path / "source" / "chart"
    (directory / "templates").mkdir(parents=True)
    (directory / "Chart.yaml").write_text("apiVersion: v2\nname: example\nversion: 1.2.3\n")
    (directory / "templates" / "a.yaml").write_text("kind: A\n")
    (directory / "README.md").write_text("# Example\n")
    return directory


@pytest.fixture
def root(tmp_path: Path, image: Image, chart: Path) -> Path:
    (tmp_path / "secret").write_text("outside")
    laid_out = mirror.prepare_mirror(
        tmp_path / "mirror", k3s_version=VERSION, images=[image], charts=[chart], k3s=ARTIFACT
    )
    assert laid_out.k3s_sha256 == hashlib.sha256(ARTIFACT).hexdigest()
    assert laid_out.charts == ("example-1.2.3.tgz",)
    return laid_out.root


@asynccontextmanager
async def serving(root: Path) -> AsyncIterator[str]:
    runner = web.AppRunner(mirror.make_application(root))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def ask(
    root: Path, path: str, *, method: str = "GET", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """One request; the path goes out as it is written."""

    async def scenario() -> tuple[int, dict[str, str], bytes]:
        async with serving(root) as base, ClientSession() as session:
            url = URL(base + path, encoded=True)
            async with session.request(method, url, headers=headers) as response:
                return response.status, dict(response.headers), await response.read()

    return asyncio.run(scenario())


def errors_of(body: bytes) -> list[str]:
    return [error["code"] for error in json.loads(body)["errors"]]


class TestRegistry:
    def test_it_says_that_it_is_a_registry(self, root: Path) -> None:
        status, _, body = ask(root, "/v2/")
        assert (status, body) == (200, b"{}")

    @pytest.mark.parametrize(
        "path",
        [
            "/v2/cilium/cilium/manifests/v1?ns=quay.io",
            "/v2/quay.io/cilium/cilium/manifests/v1",
            "/v2/cilium/cilium/manifests/DIGEST?ns=quay.io",
        ],
    )
    def test_a_manifest_by_tag_and_digest(self, root: Path, image: Image, path: str) -> None:
        path = path.replace("DIGEST", image.manifest.digest)
        for method in ("HEAD", "GET"):
            status, headers, body = ask(root, path, method=method)
            assert status == 200
            assert headers["Content-Type"] == images.MANIFEST_TYPE
            assert headers["Docker-Content-Digest"] == image.manifest.digest
            assert int(headers["Content-Length"]) == image.manifest.size
            assert body == (b"" if method == "HEAD" else image.manifest.path.read_bytes())

    def test_a_repository_of_another_registry_is_another_one(self, root: Path) -> None:
        status, headers, body = ask(root, "/v2/cilium/cilium/manifests/v1?ns=docker.io")
        assert (status, headers["Content-Type"].partition(";")[0]) == (404, "application/json")
        assert errors_of(body) == ["NAME_UNKNOWN"]

    def test_docker_hub_is_what_a_bare_name_means(self, root: Path, tmp_path: Path) -> None:
        mirror.add_image(root, make_image(tmp_path, "docker.io/coredns/coredns:1"))
        assert ask(root, "/v2/coredns/coredns/manifests/1")[0] == 200

    def test_a_blob_whole_and_in_part(self, root: Path, image: Image) -> None:
        path = f"/v2/cilium/cilium/blobs/{image.blobs[1].digest}?ns=quay.io"
        status, headers, body = ask(root, path)
        assert (status, body, headers["Docker-Content-Digest"]) == (200, LAYER, image.blobs[1].digest)
        status, headers, body = ask(root, path, headers={"Range": "bytes=100-199"})
        assert (status, body) == (206, LAYER[100:200])
        assert headers["Content-Range"] == f"bytes 100-199/{len(LAYER)}"
        status, _, body = ask(root, path, headers={"Range": f"bytes={len(LAYER) - 5}-"})
        assert (status, body) == (206, LAYER[-5:])

    @pytest.mark.parametrize(
        ("path", "code"),
        [
            ("/v2/cilium/cilium/manifests/v2?ns=quay.io", "MANIFEST_UNKNOWN"),
            (f"/v2/cilium/cilium/manifests/sha256:{'0' * 64}?ns=quay.io", "MANIFEST_UNKNOWN"),
            ("/v2/cilium/cilium/manifests/sha256:12?ns=quay.io", "MANIFEST_INVALID"),
            ("/v2/other/manifests/v1", "NAME_UNKNOWN"),
            ("/v2/Cilium/manifests/v1", "NAME_INVALID"),
            ("/v2/cilium/cilium/manifests/v1?ns=..", "NAME_INVALID"),
            (f"/v2/cilium/cilium/blobs/sha256:{'0' * 64}", "BLOB_UNKNOWN"),
            ("/v2/cilium/cilium/blobs/sha256:..%2f..%2f..%2fsecret", "DIGEST_INVALID"),
            ("/v2/other/tags/list", "NAME_UNKNOWN"),
        ],
    )
    def test_what_is_not_there_is_an_error_in_the_registrys_format(self, root: Path, path: str, code: str) -> None:
        status, _, body = ask(root, path)
        assert status == 404
        assert errors_of(body) == [code]

    def test_tags(self, root: Path, tmp_path: Path) -> None:
        mirror.add_image(root, make_image(tmp_path, "quay.io/cilium/cilium:v0"))
        _, _, body = ask(root, "/v2/cilium/cilium/tags/list?ns=quay.io")
        assert json.loads(body) == {"name": "cilium/cilium", "tags": ["v0", "v1"]}

    def test_a_tag_moves_and_the_old_digest_stays(self, root: Path, tmp_path: Path, image: Image) -> None:
        other = tmp_path / "other"
        other.mkdir()
        changed = make_image(other, "quay.io/cilium/cilium:v1", LAYER + b"more")
        mirror.add_image(root, changed)
        assert (
            ask(root, "/v2/quay.io/cilium/cilium/manifests/v1")[1]["Docker-Content-Digest"] == changed.manifest.digest
        )
        assert ask(root, f"/v2/quay.io/cilium/cilium/manifests/{image.manifest.digest}")[0] == 200

    def test_pushing_is_refused(self, root: Path) -> None:
        assert ask(root, "/v2/cilium/cilium/blobs/uploads/", method="POST")[0] in (404, 405)


class TestArtifacts:
    @pytest.mark.parametrize("path", [f"/k3s/{VERSION}/k3s", "/k3s/v1.34.2%2Bk3s1/k3s"])
    def test_k3s_with_its_plus_sign_either_way(self, root: Path, path: str) -> None:
        assert ask(root, path)[::2] == (200, b"#!/usr/bin/python3\n")

    def test_k3s_for_arm_is_another_file_with_a_list_of_its_own(self, root: Path) -> None:
        status, _, k3s = ask(root, f"/k3s/{VERSION}/k3s-arm64")
        assert (status, k3s) == (200, k3s_artifact.pack(architecture="arm64"))
        assert k3s != k3s_artifact.pack()
        listed = hashlib.sha256(k3s).hexdigest().encode() + b"  k3s-arm64\n"
        assert ask(root, f"/k3s/{VERSION}/sha256sum-arm64.txt")[::2] == (200, listed)

    def test_its_checksum_as_a_release_lists_it(self, root: Path) -> None:
        listed = hashlib.sha256(b"#!/usr/bin/python3\n").hexdigest().encode() + b"  k3s\n"
        assert ask(root, f"/k3s/{VERSION}/sha256sum-amd64.txt")[::2] == (200, listed)

    def test_a_chart_as_helm_packs_it(self, root: Path) -> None:
        status, headers, body = ask(root, "/charts/example-1.2.3.tgz")
        assert (status, headers["Content-Type"]) == (200, "application/gzip")
        with tarfile.open(fileobj=BytesIO(body)) as tar:
            assert tar.getnames() == ["example/Chart.yaml", "example/README.md", "example/templates/a.yaml"]

    def test_equal_charts_are_equal_bytes(self, chart: Path) -> None:
        first = mirror.pack_chart(chart)
        (chart / "Chart.yaml").touch()
        assert mirror.pack_chart(chart) == first

    @pytest.mark.parametrize(
        "path",
        [
            "/charts/../../secret",
            "/charts/..%2f..%2fsecret",
            "/charts/%2e%2e/secret",
            "/k3s/../k3s",
            "/k3s/..%2f../k3s",
            "/k3s/v9/k3s",
            f"/k3s/{VERSION}/sha256sum-arm.txt",
            "/charts/other-1.tgz",
            "/charts/",
            "/",
        ],
    )
    def test_nothing_else_is_served(self, root: Path, path: str) -> None:
        status, _, body = ask(root, path)
        assert status == 404
        assert b"outside" not in body


class TestLayingOut:
    def test_again_changes_nothing(self, root: Path, tmp_path: Path, image: Image, chart: Path) -> None:
        def seen() -> dict[str, tuple[int, int]]:
            files = (path for path in root.rglob("*") if path.is_file())
            return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}

        before = seen()
        mirror.prepare_mirror(root, k3s_version=VERSION, images=[image], charts=[chart], k3s=ARTIFACT)
        assert seen() == before

    def test_the_stand_in_is_the_artifact(self, tmp_path: Path) -> None:
        laid_out = mirror.prepare_mirror(tmp_path / "m", k3s_version=VERSION, images=[])
        data = (tmp_path / "m" / "k3s" / VERSION / "k3s").read_bytes()
        assert data.startswith(b"#!/usr/bin/python3\n")
        assert laid_out.k3s_sha256 == hashlib.sha256(data).hexdigest()

    @pytest.mark.parametrize("version", ["../x", "", "a/b"])
    def test_a_version_is_no_path(self, tmp_path: Path, version: str) -> None:
        with pytest.raises(ValueError, match="is not a version"):
            mirror.prepare_mirror(tmp_path, k3s_version=version, images=[])

    @pytest.mark.parametrize("reference", ["cilium", "quay.io/cilium", "quay.io/../x:1", "quay.io/a:b:c"])
    def test_a_reference_is_complete(self, reference: str) -> None:
        with pytest.raises(ValueError, match="is not REGISTRY/NAME:TAG"):
            mirror.split_reference(reference)
