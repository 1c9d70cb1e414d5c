"""Give damaged, hostile and far too large files to `zoo predict`, all in one process, and count what goes wrong.

Small images are written in every kind of file, and each file is changed at random: cut, bits and bytes altered,
blocks repeated, numbers in headers made large, one kind's content under another kind's name. Files that announce or
unpack to many gigabytes are among them. Every file must be answered or named. Counted are tracebacks, Python warnings,
answers that are not finite, files without a line, and the peak memory of the process.

    uv run python benchmarks/fuzz_predict.py [--files 1000] [--seed 0] [--weights p4m.modelA] [--write]

`--write` records the figures in benchmarks/results/fuzz.md. The exit code is 1 if a figure is not as it must be.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import math
import os
import pickle
import re
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from astropy.io import fits
from PIL import Image
from safetensors.numpy import save

RECORD = Path(__file__).parent / "results" / "fuzz.md"
SIZE = 64
MOST_MEMORY = 2048  # MB
MUST_BE_ZERO = ("tracebacks", "warnings", "answers that are not finite", "files without a line")


def contents(random: np.random.Generator) -> dict[str, list[bytes]]:
    """Return ordinary files of every kind: suffix -> contents."""
    image = random.normal(0, 0.1, (SIZE, SIZE)).astype(np.float32)
    grey = (np.clip(image, 0, 1) * 255).astype(np.uint8)
    pair = np.empty(2, dtype=object)
    pair[0], pair[1] = image.astype(">f8"), 3e-23
    spoiled = np.stack([image, image * np.nan, np.full_like(image, 3e38), image * 1e30])

    def npy(array: Any) -> bytes:
        stream = io.BytesIO()
        np.save(stream, array, allow_pickle=True)
        return stream.getvalue()

    def npz(**arrays: Any) -> bytes:
        stream = io.BytesIO()
        np.savez_compressed(stream, **arrays)
        return stream.getvalue()

    def picture(array: Any, kind: str) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(array).save(stream, kind)
        return stream.getvalue()

    def hdus(*units: Any) -> bytes:
        stream = io.BytesIO()
        fits.HDUList(list(units)).writeto(stream)
        return stream.getvalue()

    def hdf5(compression: str | None, **arrays: Any) -> bytes:
        stream = io.BytesIO()
        with h5py.File(stream, "w") as file:
            for name, array in arrays.items():
                file.create_dataset(name, data=array, compression=compression).attrs["pixel_scale"] = 0.1
        return stream.getvalue()

    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -2.8e-5, "CDELT2": 2.8e-5})
    plain = hdus(fits.PrimaryHDU(image, header=header))
    dataset = hdus(
        fits.PrimaryHDU(grey.astype("i2"), header=fits.Header({"EXTNAME": "MASK", "PIXSCAY": 0.1, "PIXSCAX": 0.1})),
        fits.ImageHDU(image, name="DATA"),
        fits.ImageHDU(image**2, name="NOISE_MAP"),
    )
    packed = hdus(fits.PrimaryHDU(), fits.CompImageHDU(grey.astype("i2"), name="SCI"))
    return {
        ".npy": [npy(image), npy(np.stack([image] * 3)[:, None]), npy(image[..., None]), npy(spoiled), npy(pair),
                 npy(np.asfortranarray(image).astype(">f8")), pickle.dumps(pair), pickle.dumps(list(image), 0)],
        ".npz": [npz(image=image, label=1), npz(images=spoiled), npz(image=pair)],
        ".fits": [plain, dataset],
        ".fits.gz": [gzip.compress(plain)],
        ".fits.fz": [packed],
        ".png": [picture(grey, "PNG"), picture(grey.astype(np.uint16) * 257, "PNG"),
                 picture(np.stack([grey] * 3, 2), "PNG")],
        ".jpg": [picture(grey, "JPEG"), picture(np.stack([grey] * 3, 2), "JPEG")],
        ".safetensors": [save({"image": np.stack([image] * 2)}), save({"x": image.astype("f8"), "y": image})],
        ".hdf5": [hdf5(None, images=np.stack([image] * 2)), hdf5(None, x=image.astype(">f8"), psf=grey)],
        ".h5": [hdf5("gzip", images=np.stack([image] * 2)), hdf5("gzip", image=spoiled)],
    }  # fmt: skip


def _cut(data: bytearray, random: np.random.Generator) -> None:
    del data[int(random.integers(len(data))) :]


def _flip(data: bytearray, random: np.random.Generator) -> None:
    for place in random.integers(len(data), size=int(random.integers(1, 9))):
        data[place] ^= 1 << int(random.integers(8))


def _flip_in_header(data: bytearray, random: np.random.Generator) -> None:
    for place in random.integers(min(len(data), 400), size=int(random.integers(1, 9))):
        data[place] = int(random.integers(256))


def _grow_numbers(data: bytearray, random: np.random.Generator) -> None:
    """Make numbers in the header large: lengths of arrays, of headers, of chunks."""
    places = [found.span() for found in re.finditer(rb"\d+", bytes(data[:3000]))]
    for start, stop in (places[int(i)] for i in random.integers(len(places), size=3) if places):
        data[start:stop] = b"9" * (stop - start) if random.random() < 0.5 else b"0" * (stop - start)
    place = int(random.integers(min(len(data), 200)))
    data[place : place + 4] = random.choice([b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x00\x00\x00\x7f"])


def _repeat(data: bytearray, random: np.random.Generator) -> None:
    start, stop = sorted(int(i) for i in random.integers(len(data), size=2))
    data[start:start] = data[start:stop]


def _zero(data: bytearray, random: np.random.Generator) -> None:
    start, stop = sorted(int(i) for i in random.integers(len(data), size=2))
    data[start:stop] = bytes(stop - start)


def _empty(data: bytearray, random: np.random.Generator) -> None:
    data.clear()


def _leave(data: bytearray, random: np.random.Generator) -> None:
    pass


CHANGES: tuple[Callable[[bytearray, np.random.Generator], None], ...] = (
    _leave, _cut, _flip, _flip_in_header, _flip_in_header, _grow_numbers, _grow_numbers, _repeat, _zero, _empty,
)  # fmt: skip


def write_files(folder: Path, count: int, seed: int) -> None:
    """Write files into a folder, one in eight of them far too large for what it is."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(seed)
    kinds = contents(random)
    large = too_large()
    for number in range(count):
        suffix = list(kinds)[number % len(kinds)]
        if number % 8 == 7:
            name, write = large[number // 8 % len(large)]
            write(folder / f"{number:05d}-large{name}")
            continue
        own = kinds[suffix] if random.random() < 0.95 else kinds[str(random.choice(list(kinds)))]
        data = bytearray(own[int(random.integers(len(own)))])
        random.choice(np.array(CHANGES, dtype=object))(data, random)
        (folder / f"{number:05d}{suffix}").write_bytes(data)


def too_large() -> list[tuple[str, Callable[[Path], None]]]:
    """Return files, as suffixes and functions that write them, whose content takes far more memory than they do."""

    def sparse(path: Path) -> None:
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "<f8", "fortran_order": False, "shape": (40_000, 40_000)}
            )
            file.truncate(file.tell() + 8 * 40_000**2)

    def zipped(path: Path) -> None:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "<f8", "fortran_order": False, "shape": (20_000, 20_000)}
        )
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as content, content.open("image.npy", "w") as member:
            member.write(header.getvalue())
            for _ in range(20):  # shorter than announced, and far longer than the file
                member.write(bytes(2**20))

    def long_strip(path: Path) -> None:
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (8, 10**7)})
            file.truncate(file.tell() + 8 * 10**7)

    def picture(path: Path) -> None:
        Image.new("L", (11_000, 9_000)).save(path, compress_level=1)

    def wide_picture(path: Path) -> None:
        Image.new("1", (10_000_000, 1)).save(path)

    def announced(path: Path) -> None:
        cards = ["SIMPLE  = T", "BITPIX  = -64", "NAXIS   = 2", "NAXIS1  = 90000", "NAXIS2  = 90000", "END"]
        path.write_bytes("".join(f"{card:80}" for card in cards).encode().ljust(2880))

    def unpacked(path: Path) -> None:
        cards = ["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = 30000", "NAXIS2  = 30000", "END"]
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write("".join(f"{card:80}" for card in cards).encode().ljust(2880))
            for _ in range(64):
                file.write(bytes(2**20))

    def memo(path: Path) -> None:
        path.write_bytes(b"]r\xff\xff\xff\x1f.")

    def buffer(path: Path) -> None:
        path.write_bytes(b"\x80\x05\x96" + (2**33).to_bytes(8, "little") + b"x.")

    def rows(path: Path) -> None:
        objects = np.empty(100_000, dtype=object)
        row = np.zeros(100_000)
        for i in range(len(objects)):
            objects[i] = row
        path.write_bytes(pickle.dumps(objects))

    def pressed(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file.create_dataset("images", (10**6, SIZE, SIZE), "f4", compression="gzip")

    def shard(path: Path) -> None:
        size = 8 * 30_000**2
        entry = {"image": {"dtype": "F64", "shape": [30_000, 30_000], "data_offsets": [0, size]}}
        header = json.dumps(entry).encode()
        with path.open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            file.truncate(file.tell() + size)

    return [
        (".npy", sparse), (".npz", zipped), (".npy", long_strip), (".png", picture), (".png", wide_picture),
        (".fits", announced), (".fits.gz", unpacked), (".npy", memo), (".npy", buffer), (".npy", rows),
        (".safetensors", shard), (".hdf5", pressed),
    ]  # fmt: skip


_PREDICT = """
import sys
from pathlib import Path
from zoo.cli import main
from zoo.environment import peak_memory_bytes
written = Path(sys.argv[1])
sys.argv[:2] = ["zoo", "predict"]
try:
    main()
finally:
    written.write_text(str(peak_memory_bytes()))
"""


def predict(folder: Path, weights: str, timeout: float) -> tuple[list[dict[str, Any]], str, int, float]:
    """Return the rows, stderr, exit code and peak memory in MB of `zoo predict` on a folder."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.NamedTemporaryFile() as memory:
        process = subprocess.Popen(
            [sys.executable, "-c", _PREDICT, memory.name, weights, str(folder), "--json", "--device", "cpu"],
            stdout=out, stderr=err, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        peak = int(memory.read() or 0) / 2**20
        out.seek(0)
        err.seek(0)
        stdout, stderr = out.read().decode(), err.read().decode(errors="replace")
    try:
        rows = json.loads(stdout)
    except ValueError:
        rows = []
    return rows, stderr, code, peak


def measure(*, files: int, seed: int, weights: str, timeout: float = 3600) -> dict[str, Any]:
    """Return the figures of one run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, files, seed)
        names = sorted(path.name for path in folder.iterdir())
        rows, stderr, code, peak = predict(folder, weights, timeout)
        met, answered = Counter[str](), Counter[str]()
        for row in rows:
            file = row["image"].removeprefix(f"{folder}/").partition("[")[0]
            met[file] += 1
            answered[file] += "error" not in row
    finite = [
        all(math.isfinite(value) for value in row["probabilities"].values()) for row in rows if "error" not in row
    ]
    return {
        "files": len(names),
        "images answered": len(finite),
        "files with an answer": sum(count > 0 for count in answered.values()),
        "files named and left out": sum(answered[file] == 0 for file in met),
        "tracebacks": stderr.count("Traceback") + (code not in (0, 1)),
        "warnings": len(re.findall(r"\w*Warning: ", stderr)),
        "answers that are not finite": finite.count(False),
        "files without a line": sum(met[file] == 0 for file in names),
        "peak memory, MB": round(peak),
        "stderr": stderr,
    }


def wrong(figures: dict[str, Any]) -> dict[str, Any]:
    """Return those figures that are not as they must be."""
    most = dict.fromkeys(MUST_BE_ZERO, 0) | {"peak memory, MB": MOST_MEMORY}
    return {name: figures[name] for name, limit in most.items() if figures[name] > limit}


def as_page(figures: dict[str, Any], command: str) -> str:
    """Return the figures as the recorded page."""
    rows = "\n".join(f"| {name} | {value:,} |" for name, value in figures.items() if name != "stderr")
    return (
        "# Damaged and hostile files\n\n"
        "Random changes of files of every kind, and files far larger than they look, in one process of `zoo predict`.\n"
        f"Written by\n\n```bash\n{command}\n```\n\n| figure | value |\n| --- | ---: |\n{rows}\n"
    )


def main() -> None:
    """Run the comparison, print it, and record it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", default="p4m.modelA")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    figures = measure(files=arguments.files, seed=arguments.seed, weights=arguments.weights)
    command = f"uv run python benchmarks/fuzz_predict.py --files {arguments.files} --seed {arguments.seed} --write"
    page = as_page(figures, command)
    print(page)
    if arguments.write:
        RECORD.write_text(page, encoding="utf-8")
    if wrong(figures):
        print(figures["stderr"][-5000:], file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
