//! The library that makes the disk, the clock and the threads of a server misbehave. It is built with the C
//! compiler that the workspace needs anyway.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// What the disk does.
#[derive(Clone, Copy)]
pub(crate) enum Disk {
    Well = 0,
    Full = 1,
    ReadOnly = 2,
    Hangs = 3,
}

/// Bytes of a thread's name, with a 0 at the end.
const THREAD_NAME: usize = 16;

/// Makes the surroundings of one server misbehave. `shim.c` reads the file that this writes.
#[derive(Clone)]
pub(crate) struct Shim {
    library: PathBuf,
    file: PathBuf,
    control: Arc<File>,
    dir: PathBuf,
}

impl Shim {
    /// Builds the library in `scratch`, for a server with its data in `dir`.
    pub(crate) fn new(scratch: &Path, dir: &Path) -> Self {
        let library = scratch.join("shim.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken/shim.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl");
        assert!(cc.status().unwrap().success(), "the C compiler failed");
        let file = scratch.join("shim.control");
        std::fs::write(&file, [0; 16 + THREAD_NAME]).unwrap();
        let control = Arc::new(File::options().write(true).open(&file).unwrap());
        Self { library, file, control, dir: dir.to_owned() }
    }

    /// Sets the wall clock of the server off by so many seconds.
    pub(crate) fn set_clock_offset(&self, seconds: i64) {
        self.control.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }

    pub(crate) fn set_disk(&self, disk: Disk) {
        self.control.write_all_at(&(disk as i32).to_ne_bytes(), 8).unwrap();
    }

    /// Makes the threads of this name hang; "": none. Those that hung go on.
    pub(crate) fn set_hanging(&self, thread: &str) {
        let mut name = [0; THREAD_NAME];
        name[..thread.len()].copy_from_slice(thread.as_bytes());
        self.control.write_all_at(&name, 16).unwrap();
    }

    /// Takes hard links away from the file system.
    pub(crate) fn without_links(self) -> Self {
        self.control.write_all_at(&1_i32.to_ne_bytes(), 12).unwrap();
        self
    }

    pub(crate) fn load_into(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library);
        command.env("NUCLEUS_SHIM", &self.file).env("NUCLEUS_SHIM_DIR", &self.dir);
    }
}
