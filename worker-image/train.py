"""Train the demo's model at image build: handwritten digits that scikit-learn ships, always with the same outcome.

    python train.py model/digits.joblib

The file holds the classifier and the images it was not trained on; pictures.json beside it has some of them, for
visitors of the web service that have no scikit-learn. A model worse than MIN_ACCURACY fails the build.
"""

import json
import sys
from pathlib import Path

import joblib
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

SEED = 7
MIN_ACCURACY = 0.97
PICTURES = 100


def main(path: Path) -> None:
    """Train, check on the held-out third, save to `path`."""
    digits = load_digits()
    seen, held_out, seen_labels, labels = train_test_split(
        digits.data, digits.target, test_size=1 / 3, random_state=SEED, stratify=digits.target
    )
    classifier = SVC(gamma=0.001).fit(seen, seen_labels)
    accuracy = classifier.score(held_out, labels)
    if accuracy < MIN_ACCURACY:
        sys.exit(f"the model knows {accuracy:.1%} of unseen digits, {MIN_ACCURACY:.0%} are needed")
    path.parent.mkdir(parents=True, exist_ok=True)
    joblib.dump({"classifier": classifier, "images": held_out, "labels": labels}, path, compress=3)
    pictures = zip(held_out[:PICTURES].tolist(), labels[:PICTURES].tolist(), strict=True)
    path.with_name("pictures.json").write_text(json.dumps(list(pictures)))
    print(f"{path}: {accuracy:.1%} of {len(labels)} unseen digits, {path.stat().st_size} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
