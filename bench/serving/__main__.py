"""`make bench-serving`: the service, its bounds and five peers on the same cores in one run → docs/reports/serving.md.

Two networks: the shipped resnet20 at 32×32, and one of ResNet-50's size at 224×224 that is made for the
occasion. Every server serves the same ONNX files and is called in a closed loop, every answer checked.
Takes about 16 minutes, and another few when the peers' environments are installed for the first time; wants
a machine with nothing else to do. `--seconds 1 --print` is a quick look.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.harness.page import parser_of, publish
from bench.harness.paths import DOCS
from bench.serving.measure import measure
from bench.serving.report import COMMAND, report
from bench.serving.servers import SERVERS
from bench.serving.subjects import SUBJECTS


def main() -> None:
    parser = parser_of("python -m bench.serving", __doc__, DOCS / "reports" / "serving.md")
    parser.add_argument("--seconds", type=float, default=7.0, help="of each measurement (default: %(default)s)")
    parser.add_argument("--subjects", nargs="*", choices=SUBJECTS, default=list(SUBJECTS))
    parser.add_argument("--only", nargs="*", help="names of servers")
    options = parser.parse_args()
    chosen = [server for server in SERVERS if not options.only or server.name in options.only]
    with tempfile.TemporaryDirectory() as folder:
        measured = []
        for name in options.subjects:
            scratch = Path(folder) / name
            scratch.mkdir()
            measured.append(measure(SUBJECTS[name](scratch, options.seconds), chosen, scratch))
    publish(options, COMMAND, report(measured))


if __name__ == "__main__":
    main()
