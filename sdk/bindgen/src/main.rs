//! Makes the C header and the C# declarations from the source of `sdk/c`.
//!
//! `cargo run --manifest-path sdk/bindgen/Cargo.toml --target-dir target/bindgen` writes both. With
//! `-- --check` it compares both with what is committed, and exits with code 1 if they differ.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

const SOURCE: &str = "sdk/c/src";
const HEADER: &str = "sdk/c/include/nucleus.h";
const DECLARATIONS: &str = "sdk/unity/com.nucleus.client/Runtime/Native/NativeMethods.g.cs";

/// Returns the sources with items of the ABI: types before the functions that use them.
fn sources(root: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root.join(SOURCE))? {
        let file = entry?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let rank = ["types", "event", "entry_"].iter().position(|start| name.starts_with(start));
        files.extend(rank.map(|rank| (rank, name, file)));
    }
    files.sort();
    Ok(files.into_iter().map(|(_, _, file)| file).collect())
}

/// Returns the settings of the header. They also list the enums whose numbers are in fields and arguments
/// that are integers: no function names these enums.
fn settings(root: &Path) -> Result<cbindgen::Config, Box<dyn Error>> {
    Ok(cbindgen::Config::from_file(root.join("sdk/c/cbindgen.toml"))?)
}

fn header(root: &Path) -> Result<String, Box<dyn Error>> {
    let config = settings(root)?;
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in sources(root)? {
        builder = builder.with_src(source);
    }
    let mut text = Vec::new();
    builder.generate()?.write(&mut text);
    Ok(String::from_utf8(text)?)
}

fn declarations(root: &Path) -> Result<String, Box<dyn Error>> {
    let mut builder = csbindgen::Builder::default()
        .csharp_dll_name("nucleus")
        .csharp_dll_name_if("UNITY_IOS && !UNITY_EDITOR", "__Internal")
        .csharp_namespace("Nucleus.Native")
        .csharp_class_name("NativeMethods")
        .csharp_class_accessibility("internal")
        .csharp_use_function_pointer(false)
        // Mono and Unity know `nint` only since C# 9.
        .csharp_use_nint_types(false)
        .csharp_generate_const_filter(|name| name == "NC_ABI_VERSION")
        .always_included_types(settings(root)?.export.include);
    for source in sources(root)? {
        builder = builder.input_extern_file(source);
    }
    // The library writes to files only.
    let made = env::temp_dir().join(format!("nucleus-bindgen-{}.cs", std::process::id()));
    builder.generate_csharp_file(&made)?;
    let text = fs::read_to_string(&made)?;
    fs::remove_file(&made)?;
    Ok(text)
}

fn main() -> Result<(), Box<dyn Error>> {
    let is_check = env::args().nth(1).as_deref() == Some("--check");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (file, text) in [(HEADER, header(&root)?), (DECLARATIONS, declarations(&root)?)] {
        if !is_check {
            fs::write(root.join(file), text)?;
        } else if fs::read_to_string(root.join(file))? != text {
            let command =
                "cargo run --manifest-path sdk/bindgen/Cargo.toml --target-dir target/bindgen";
            return Err(format!("{file} is not what the source says: {command}").into());
        }
    }
    Ok(())
}
