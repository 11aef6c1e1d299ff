#!/bin/bash
# Builds the native library for iOS as a static one, and copies it into the package. Needs Xcode, and the
# target: rustup target add aarch64-apple-ios
#
#     sdk/unity/scripts/build-ios.sh [--features opus]
set -euo pipefail
cd "$(dirname "$0")/../../.."
target=aarch64-apple-ios
# The oldest iOS that Unity 2021.3 builds for.
export IPHONEOS_DEPLOYMENT_TARGET=12.0
# A dynamic library cannot be linked for iOS without a signature, so only the static one is built.
cargo rustc --profile sdk -p nucleus-sdk --lib --crate-type staticlib --target "$target" "$@"
to=sdk/unity/com.nucleus.client/Plugins/iOS
mkdir -p "$to"
cp "${CARGO_TARGET_DIR:-target}/$target/sdk/libnucleus.a" "$to/"
echo "$to/libnucleus.a"
