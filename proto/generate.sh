#!/usr/bin/env bash
# Makes the Python code of proto/secure_hfl.proto in secure_hfl/transport/. Needs grpcio-tools (extra "dev").
#   proto/generate.sh           writes it
#   proto/generate.sh --check   fails if what is committed differs (for CI)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

package=secure_hfl/transport
files=(secure_hfl_pb2.py secure_hfl_pb2.pyi secure_hfl_pb2_grpc.py)
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

"${PYTHON:-python}" -m grpc_tools.protoc --proto_path=proto \
    --python_out="$made" --pyi_out="$made" --grpc_python_out="$made" proto/secure_hfl.proto
# protoc writes an import that only works from inside the package's folder.
sed -i.bak 's/^import secure_hfl_pb2 as /from secure_hfl.transport import secure_hfl_pb2 as /' "$made/secure_hfl_pb2_grpc.py"
# protoc's stubs leave out the type arguments of Mapping.
sed -i.bak '1i # mypy: disable-error-code="type-arg"' "$made/secure_hfl_pb2.pyi"

case "${1:-}" in
    "") for file in "${files[@]}"; do cp "$made/$file" "$package/$file"; done ;;
    --check)
        for file in "${files[@]}"; do
            cmp -s "$package/$file" "$made/$file" || { echo "$package/$file is stale: run proto/generate.sh" >&2; exit 1; }
        done ;;
    *) echo "usage: proto/generate.sh [--check]" >&2; exit 2 ;;
esac
