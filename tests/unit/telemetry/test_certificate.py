import ssl
import subprocess
from pathlib import Path

import pytest

from celeriac.telemetry.certificate import Certificate

pytestmark = pytest.mark.unit


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    command = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    subprocess.run(
        [*command, "-subj", "/CN=localhost", "-out", certificate, "-keyout", key], check=True, capture_output=True
    )
    return certificate, key


def test_files_that_cannot_be_read_leave_the_earlier_certificate_and_are_told_once(
    files: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    certificate = Certificate(*files)
    first = certificate.context()
    text = files[0].read_text()
    files[0].write_text("half a certif")
    assert [certificate.context() for _ in range(3)] == [first] * 3
    files[0].unlink()
    assert [certificate.context() for _ in range(3)] == [first] * 3
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    files[0].write_text(text)
    assert certificate.context() is not first


def test_what_is_no_certificate_at_the_start_is_an_error(files: tuple[Path, Path]) -> None:
    files[1].write_text("no key")
    with pytest.raises(ssl.SSLError, match="PEM"):
        Certificate(*files)
