#!/bin/bash
# Builds the native library for Linux, and copies it into the package.
#
#     sdk/unity/scripts/build-linux.sh [--features opus]
set -euo pipefail
cd "$(dirname "$0")/../../.."
target=x86_64-unknown-linux-gnu
cargo build --profile sdk -p nucleus-sdk --target "$target" "$@"
to=sdk/unity/com.nucleus.client/Plugins/Linux/x86_64
mkdir -p "$to"
cp "${CARGO_TARGET_DIR:-target}/$target/sdk/libnucleus.so" "$to/"
echo "$to/libnucleus.so"
