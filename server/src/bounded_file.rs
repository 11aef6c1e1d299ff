//! Reads of files that may be of any size.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

/// Longest time for the content of a pipe to come. A program that makes a configuration needs less.
const PIPE_TIME: Duration = Duration::from_secs(5);
/// Time between two looks at a pipe.
const PIPE_PAUSE: Duration = Duration::from_millis(10);

/// Reads a file of at most so many bytes. No more are ever in memory, even of a device without an end.
/// A pipe into which nobody writes is empty.
///
/// # Errors
///
/// The file cannot be read, is larger (`FileTooLarge`), or is a pipe whose content does not come
/// within 5 s (`TimedOut`).
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    let mut file = open(path)?.take(most + 1);
    let end = Instant::now() + PIPE_TIME;
    loop {
        match file.read_to_end(&mut bytes) {
            Ok(_) => break,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            Err(_) if Instant::now() >= end => {
                let text = "a pipe whose content does not come within 5 s";
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            Err(_) => std::thread::sleep(PIPE_PAUSE),
        }
    }
    if bytes.len() as u64 > most {
        let text = format!("larger than {} KiB", most >> 10);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

/// Opens a file for reading. Without waiting: to open a pipe would else wait until somebody writes
/// into it.
fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        rustix::fs::OFlags::NONBLOCK.bits().cast_signed(),
    );
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_limit_is_read_and_a_larger_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, [b'#'; 2_048]).unwrap();
        assert_eq!(read(&path, 2_048).unwrap().len(), 2_048);
        let error = read(&path, 2_047).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_without_an_end_is_refused() {
        let error = read(Path::new("/dev/zero"), 1 << 20).unwrap_err();
        assert_eq!(error.to_string(), "larger than 1024 KiB");
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert_eq!(read(&path, 9).unwrap().len(), 0, "nobody writes");
        let writes = {
            let path = path.clone();
            std::thread::spawn(move || {
                let mut pipe = File::options().write(true).open(path).unwrap();
                std::thread::sleep(Duration::from_millis(100));
                io::Write::write_all(&mut pipe, b"late").unwrap();
            })
        };
        let end = Instant::now() + PIPE_TIME;
        while read(&path, 9).unwrap().as_slice() != b"late" {
            assert!(Instant::now() < end, "the content never came");
        }
        writes.join().unwrap();
    }
}
