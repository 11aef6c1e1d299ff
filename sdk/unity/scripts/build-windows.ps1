# Builds the native library for Windows, and copies it into the package. Needs the build tools of Visual
# Studio, and the target: rustup target add x86_64-pc-windows-msvc
#
#     powershell sdk/unity/scripts/build-windows.ps1 [--features opus]
$ErrorActionPreference = "Stop"
Set-Location (Join-Path $PSScriptRoot "../../..")
$target = "x86_64-pc-windows-msvc"
# The C runtime is linked in, so that players need no redistributable package.
$env:CARGO_TARGET_X86_64_PC_WINDOWS_MSVC_RUSTFLAGS = "-C target-feature=+crt-static"
cargo build --profile sdk -p nucleus-sdk --target $target @args
if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
$built = if ($env:CARGO_TARGET_DIR) { $env:CARGO_TARGET_DIR } else { "target" }
$to = "sdk/unity/com.nucleus.client/Plugins/Windows/x86_64"
New-Item -ItemType Directory -Force $to | Out-Null
Copy-Item "$built/$target/sdk/nucleus.dll" $to
Write-Output "$to/nucleus.dll"
