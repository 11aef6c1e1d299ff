#!/bin/bash
# Builds the native library for both processors of Macs, and copies it into the package. Needs Xcode's
# command line tools, and the targets: rustup target add aarch64-apple-darwin x86_64-apple-darwin
#
#     sdk/unity/scripts/build-macos.sh [--features opus]
set -euo pipefail
cd "$(dirname "$0")/../../.."
export MACOSX_DEPLOYMENT_TARGET=11.0
libraries=()
for target in aarch64-apple-darwin x86_64-apple-darwin; do
    cargo build --profile sdk -p nucleus-sdk --target "$target" "$@"
    libraries+=("${CARGO_TARGET_DIR:-target}/$target/sdk/libnucleus.dylib")
done
to=sdk/unity/com.nucleus.client/Plugins/macOS
mkdir -p "$to"
lipo -create "${libraries[@]}" -output "$to/libnucleus.dylib"
# Unity's player looks beside the program.
install_name_tool -id @rpath/libnucleus.dylib "$to/libnucleus.dylib"
codesign --force --sign - "$to/libnucleus.dylib"
echo "$to/libnucleus.dylib"
