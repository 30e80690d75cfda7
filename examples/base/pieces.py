"""Files cut into pieces that travel, and put together again with their digests checked.

python examples/base/pieces.py split WORK/tag/checkpoint.safetensors OUT
python examples/base/pieces.py join OUT/checkpoint.safetensors.json WORK/tag

The first writes OUT/checkpoint.safetensors.000, .001 and so on, and a list of them that ends in .json.
"""

import argparse
import hashlib
import json
from pathlib import Path

PIECE = 16 * 1024 * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("split", "join"))
    parser.add_argument("file", type=Path, help="what to split, or the list of pieces to join")
    parser.add_argument("folder", type=Path, help="where to write")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    print((split if options.action == "split" else join)(options.file, options.folder))


def split(path: Path, folder: Path) -> Path:
    """Write pieces of `path` and their list, whose path is returned."""
    pieces, whole = [], hashlib.sha256()
    with path.open("rb") as stream:
        while content := stream.read(PIECE):
            piece = folder / f"{path.name}.{len(pieces):03}"
            piece.write_bytes(content)
            pieces.append({"file": piece.name, "sha256": hashlib.sha256(content).hexdigest()})
            whole.update(content)
    listing = folder / f"{path.name}.json"
    listing.write_text(json.dumps({"name": path.name, "sha256": whole.hexdigest(), "pieces": pieces}, indent=1) + "\n")
    return listing


def join(listing: Path, folder: Path) -> Path:
    """Put the pieces beside `listing` together; the file appears only when every digest agrees, else SystemExit."""
    record = json.loads(listing.read_text())
    whole, draft = hashlib.sha256(), folder / f"{record['name']}.new"
    with draft.open("wb") as out:
        for piece in record["pieces"]:
            content = (listing.parent / piece["file"]).read_bytes()
            if hashlib.sha256(content).hexdigest() != piece["sha256"]:
                raise SystemExit(f"{listing.parent / piece['file']}: damaged, its sha-256 is not the list's")
            out.write(content)
            whole.update(content)
    if whole.hexdigest() != record["sha256"]:
        raise SystemExit(f"{listing}: the pieces together are not the file that was split")
    return draft.replace(folder / record["name"])


if __name__ == "__main__":
    main()
