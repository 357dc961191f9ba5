#!/usr/bin/env python3
"""Prints the distinct texts of event files (NDJSON, plain or .gz), one a line, in the order in which they come."""

import gzip
import json
import sys

seen = set()
for path in sys.argv[1:]:
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            text = " ".join((json.loads(line).get("text") or "").split())
            if text and text not in seen:
                seen.add(text)
                print(text)
