#!/usr/bin/env bash
# Makes proto/secure_hfl.proto from the message classes, and from that the protobuf library's Python code in
# secure_hfl/transport/. Needs grpcio-tools (extra "dev").
#   proto/generate.sh           writes them
#   proto/generate.sh --check   fails if what is committed differs (for CI)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

package=secure_hfl/transport
files=(secure_hfl_pb2.py secure_hfl_pb2.pyi secure_hfl_pb2_grpc.py)
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

"${PYTHON:-python}" -c '
import sys
from protocols.schemes.registry import known_messages
from protocols.wire.proto_file import proto_text
sys.stdout.write(proto_text(known_messages()))' > "$made/secure_hfl.proto"
"${PYTHON:-python}" -m grpc_tools.protoc --proto_path="$made" \
    --python_out="$made" --pyi_out="$made" --grpc_python_out="$made" "$made/secure_hfl.proto"
# protoc writes an import that only works from inside the package's folder.
sed -i.bak 's/^import secure_hfl_pb2 as /from secure_hfl.transport import secure_hfl_pb2 as /' "$made/secure_hfl_pb2_grpc.py"
# protoc's stubs leave out the type arguments of Mapping.
sed -i.bak '1i # mypy: disable-error-code="type-arg"' "$made/secure_hfl_pb2.pyi"

case "${1:-}" in
    "")
        cp "$made/secure_hfl.proto" proto/
        for file in "${files[@]}"; do cp "$made/$file" "$package/$file"; done ;;
    --check)
        stale() { echo "$1 is stale: run proto/generate.sh" >&2; exit 1; }
        cmp -s proto/secure_hfl.proto "$made/secure_hfl.proto" || stale proto/secure_hfl.proto
        for file in "${files[@]}"; do cmp -s "$package/$file" "$made/$file" || stale "$package/$file"; done ;;
    *) echo "usage: proto/generate.sh [--check]" >&2; exit 2 ;;
esac
