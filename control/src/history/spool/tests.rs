use std::sync::Arc;

use nucleus_core::ids::{Product, ProductKey};
use nucleus_core::plane_event::{CallRef, PlaneEvent};

use super::*;
use crate::timestamp::Timestamp;

fn event(call: u64) -> RecordedEvent {
    let at = Timestamp::from_seconds(2_000_000_000);
    let owner = Arc::new(ProductKey { tenant: "acme".to_owned(), product: Product::ATOM });
    let what = PlaneEvent::CallStarted(CallRef { call, owner, caller: "ada".to_owned() });
    RecordedEvent { id: crate::id::new(at).unwrap(), at, what }
}

/// Reads everything that is left, by another process that starts now. The first opens it by itself.
fn left(path: &Path) -> Vec<RecordedEvent> {
    let (spool, _) = Spool::open(path, SPOOL_BYTES).unwrap();
    if spool.is_empty() {
        return Vec::new();
    }
    let batch = spool.oldest(usize::MAX).unwrap();
    assert_eq!(batch.damaged, 0);
    batch.events
}

#[test]
fn a_full_spool_takes_no_more_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spool");
    let (mut spool, _) = Spool::open(&path, 1_000).unwrap();
    let events: Vec<_> = (0..100).map(event).collect();
    let Appended { done, too_long } = spool.append(&events).unwrap();
    assert!((1..10).contains(&done) && spool.rows == done as u64 && too_long == 0);
    assert!(std::fs::metadata(&path).unwrap().len() <= 1_000);
    let batch = spool.oldest(500).unwrap();
    assert_eq!(batch.events, events[..done]);
    spool.taken(&batch).unwrap();
    assert!(spool.is_empty() && !path.exists());
    assert_eq!(spool.append(&events[..2]).unwrap().done, 2, "there is space again");
}

#[test]
fn damaged_and_endless_lines_are_counted_and_hold_up_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spool");
    let (mut spool, _) = Spool::open(&path, SPOOL_BYTES).unwrap();
    spool.append(&[event(1)]).unwrap();
    spool.write(b"{}\nno line\n\xff\n").unwrap();
    spool.write(&vec![b'x'; 3 * LINE_BYTES as usize]).unwrap();
    spool.write(b"\n").unwrap();
    spool.append(&[event(2)]).unwrap();
    let (mut spool, cut) = Spool::open(&path, SPOOL_BYTES).unwrap();
    assert_eq!((spool.rows, cut), (6, 0));
    let (mut events, mut damaged) = (0, 0);
    while !spool.is_empty() {
        let batch = spool.oldest(2).unwrap();
        events += batch.events.len();
        damaged += batch.damaged;
        spool.taken(&batch).unwrap();
    }
    assert_eq!((events, damaged), (2, 4));
}

/// A process is killed after any step: the next one finds everything that is not in the database.
#[test]
fn a_spool_that_is_opened_again_after_any_step_has_lost_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spool");
    // A limit for which the file is made smaller again and again.
    let (mut spool, _) = Spool::open(&path, SPOOL_BYTES).unwrap();
    spool.shrink_from = 2_000;
    let events: Vec<_> = (0..200).map(event).collect();
    let (mut appended, mut taken, mut largest, mut shrunk) = (0, 0, 0, 0);
    while taken < events.len() {
        for _ in 0..3 {
            let some = &events[appended..(appended + 2).min(events.len())];
            assert_eq!(spool.append(some).unwrap().done, some.len());
            appended += some.len();
            assert!(left(&path).ends_with(&events[taken..appended]));
        }
        let batch = spool.oldest(5).unwrap();
        assert_eq!(batch.events, events[taken..taken + batch.events.len()]);
        taken += batch.events.len();
        let before = spool.bytes;
        spool.taken(&batch).unwrap();
        if spool.bytes < before && !spool.is_empty() {
            shrunk += 1;
            spool.shrink_from = 2_000;
            assert_eq!(left(&path), events[taken..appended], "the file has the rest alone");
        }
        assert!(left(&path).ends_with(&events[taken..appended]));
        largest = largest.max(spool.bytes - (appended - taken) as u64 * 200);
    }
    assert!(shrunk > 3, "made smaller {shrunk} times");
    assert!(!path.exists() && !spool.draft().exists());
}

#[test]
fn a_line_that_was_being_written_is_cut_off_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spool");
    let events = [event(1), event(2), event(3)];
    Spool::open(&path, SPOOL_BYTES).unwrap().0.append(&events[..2]).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for half in 1..60 {
        let mut torn = whole.clone();
        torn.extend_from_slice(&whole[..half]);
        std::fs::write(&path, &torn).unwrap();
        let (mut spool, cut) = Spool::open(&path, SPOOL_BYTES).unwrap();
        assert_eq!((spool.rows, cut), (2, 1), "{half}");
        spool.append(&events[2..]).unwrap();
        assert_eq!(left(&path), events, "{half}");
    }
    // Nothing but half a line.
    std::fs::write(&path, b"{\"id\":").unwrap();
    let (mut spool, cut) = Spool::open(&path, SPOOL_BYTES).unwrap();
    assert!(spool.is_empty() && cut == 1);
    spool.append(&events).unwrap();
    assert_eq!(left(&path), events);
}

/// What a write that failed has left behind shifts nothing, also if it cannot be cut off at once.
#[test]
fn the_remains_of_a_failed_write_are_never_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spool");
    let events: Vec<_> = (0..6).map(event).collect();
    let (mut spool, _) = Spool::open(&path, SPOOL_BYTES).unwrap();
    spool.append(&events[..2]).unwrap();
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"remains\":\n of a write").unwrap();
    let batch = spool.oldest(100).unwrap();
    assert_eq!((batch.events.as_slice(), batch.damaged), (&events[..2], 0));
    spool.append(&events[2..4]).unwrap();
    assert_eq!(left(&path), events[..4]);
    file.write_all(b"more").unwrap();
    spool.taken(&spool.oldest(3).unwrap()).unwrap();
    spool.append(&events[4..]).unwrap();
    assert_eq!(spool.oldest(100).unwrap().events, events[3..]);
}

#[test]
fn a_file_that_somebody_cuts_or_removes_counts_as_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spool");
    for is_removed in [true, false] {
        let (mut spool, _) = Spool::open(&path, SPOOL_BYTES).unwrap();
        spool.append(&(0..4).map(event).collect::<Vec<_>>()).unwrap();
        if is_removed {
            std::fs::remove_file(&path).unwrap();
        } else {
            OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
        }
        let batch = spool.oldest(100).unwrap();
        assert_eq!((batch.events.len(), batch.damaged), (0, 4));
        spool.taken(&batch).unwrap();
        assert!(spool.is_empty() && !path.exists());
        spool.append(&[event(9)]).unwrap();
        assert_eq!(left(&path).len(), 1);
        std::fs::remove_file(&path).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn only_the_owner_reads_the_spool() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spool");
    let (mut spool, _) = Spool::open(&path, SPOOL_BYTES).unwrap();
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    spool.append(&[event(1), event(2)]).unwrap();
    assert_eq!(mode(), 0o600);
    spool.shrink_from = 1;
    spool.taken(&spool.oldest(1).unwrap()).unwrap();
    assert_eq!((mode(), spool.read), (0o600, 0), "also of the file with the rest");
}

/// Needs root, to mount a small disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_harms_nothing_that_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let disk = |act: &str, more: &[&str]| {
        std::process::Command::new(act)
            .args(more)
            .arg(dir.path())
            .status()
            .is_ok_and(|s| s.success())
    };
    if !disk("mount", &["-t", "tmpfs", "-o", "size=16k", "tmpfs"]) {
        return; // Without root.
    }
    let result = std::panic::catch_unwind(|| {
        let path = dir.path().join("spool");
        let (mut spool, _) = Spool::open(&path, SPOOL_BYTES).unwrap();
        let events: Vec<_> = (0..200).map(event).collect();
        let mut done = 0;
        while spool.append(&events[done..done + 7]).is_ok() {
            done += 7;
            assert!(done < 190, "the disk takes everything");
        }
        assert!(done >= 14);
        assert!(spool.append(&events[done..done + 7]).is_err(), "it is full");
        assert_eq!(left(&path), events[..done]);
        // There is no space for a copy of the rest: the file stays as it is, until nothing is left.
        spool.shrink_from = 1;
        spool.taken(&spool.oldest(done - 1).unwrap()).unwrap();
        assert_eq!((spool.read > 0, spool.rows, spool.draft().exists()), (true, 1, false));
        assert_eq!(left(&path), events[..done]);
        spool.taken(&spool.oldest(7).unwrap()).unwrap();
        assert_eq!(spool.append(&events[done..done + 7]).unwrap().done, 7);
        assert_eq!(left(&path), events[done..done + 7]);
    });
    assert!(disk("umount", &[]));
    result.unwrap();
}
