#!/bin/bash
# Builds the native library for Android on arm64, and copies it into the package. Needs the NDK, whose
# directory ANDROID_NDK_HOME names, and the target: rustup target add aarch64-linux-android
#
#     ANDROID_NDK_HOME=DIRECTORY sdk/unity/scripts/build-android.sh [--features opus]
set -euo pipefail
cd "$(dirname "$0")/../../.."
: "${ANDROID_NDK_HOME:?the directory of the NDK}"
target=aarch64-linux-android
# Android 7, the oldest that Quest headsets and Unity 2021.3 with 64 bits have in common.
api=24
tools=("$ANDROID_NDK_HOME"/toolchains/llvm/prebuilt/*/bin)
compiler="${tools[0]}/${target}${api}-clang"
test -x "$compiler" || { echo "there is no compiler $compiler" >&2; exit 1; }
export CC_aarch64_linux_android="$compiler" AR_aarch64_linux_android="${tools[0]}/llvm-ar"
export CARGO_TARGET_AARCH64_LINUX_ANDROID_LINKER="$compiler"
# Android 15 has devices with pages of 16 KB. They load no library whose segments are aligned to 4 KB.
export CARGO_TARGET_AARCH64_LINUX_ANDROID_RUSTFLAGS="-C link-arg=-Wl,-z,max-page-size=16384"
cargo build --profile sdk -p nucleus-sdk --target "$target" "$@"
to=sdk/unity/com.nucleus.client/Plugins/Android/arm64-v8a
mkdir -p "$to"
cp "${CARGO_TARGET_DIR:-target}/$target/sdk/libnucleus.so" "$to/"
"${tools[0]}/llvm-readelf" --program-headers "$to/libnucleus.so" | grep LOAD | grep -qv 0x4000 && {
    echo "a segment is not aligned to 16 KB" >&2
    exit 1
}
echo "$to/libnucleus.so"
