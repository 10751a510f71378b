"""Files that a page gives: to keep, never to be shown by the browser in the console's place."""

from __future__ import annotations

import re

from starlette.responses import Response


def attachment(data: bytes, name: str, media_type: str) -> Response:
    """A file to keep. Of its name, letters, digits and hyphens are left."""
    kept = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.") or "file"
    return Response(data, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{kept}"'})
