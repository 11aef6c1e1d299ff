//! Writes every screen with invented data into a directory: `preview DIR`.
//!
//! `DIR/designed`, `DIR/hostile` and `DIR/empty` have a file for each screen, `DIR/live/...` the parts
//! that streams replace, `DIR/reports/...` the reports, `DIR/assets` the assets, and `DIR/policy.txt` the policy that a server of these
//! files sends.

#[path = "../tests/samples/mod.rs"]
mod samples;

use std::path::Path;
use std::{env, error, fs, process};

use samples::Data;

fn write(directory: &Path) -> Result<(), Box<dyn error::Error>> {
    for data in Data::ALL {
        let (pages, parts) = (samples::pages(data)?, samples::live_parts(data)?);
        let reports = samples::reports(data)?;
        for (folder, files) in [
            (directory.join(data.name()), pages),
            (directory.join("live").join(data.name()), parts),
            (directory.join("reports").join(data.name()), reports),
        ] {
            fs::create_dir_all(&folder)?;
            for (name, html) in files {
                fs::write(folder.join(format!("{name}.html")), html)?;
            }
        }
    }
    fs::create_dir_all(directory.join("assets"))?;
    for asset in nucleus_console::assets::all() {
        fs::write(directory.join("assets").join(&asset.file), asset.bytes)?;
    }
    fs::write(directory.join("policy.txt"), nucleus_console::assets::POLICY)?;
    Ok(())
}

#[expect(clippy::print_stderr, reason = "the output of a command")]
fn main() {
    let Some(directory) = env::args_os().nth(1) else {
        eprintln!("usage: preview DIR");
        process::exit(2);
    };
    if let Err(error) = write(Path::new(&directory)) {
        eprintln!("cannot write the preview: {error}");
        process::exit(1);
    }
}
