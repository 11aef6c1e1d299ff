//! What a process leaves to the one that continues after it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

/// Stands for a value that is not there.
const NONE: &str = "-";

/// The content of the file: ticket, peer id, run, successes, and then a line for each sender.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) ticket: Option<String>,
    /// The own peer id of the process before.
    pub(crate) peer: Option<u32>,
    /// How often the program was started.
    pub(crate) run: u64,
    /// How often this user has increased the room's count.
    pub(crate) successes: u64,
    pub(crate) records: BTreeMap<String, Record>,
}

/// The next event of a sender.
#[derive(Clone, Copy, Default)]
pub(crate) struct Record {
    pub(crate) run: u64,
    pub(crate) next: u64,
}

impl Memory {
    /// Reads the file. Without one, this is the first process.
    pub(crate) fn load(file: &Path) -> Result<Self, Box<dyn Error>> {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error.into()),
        };
        let mut words = text.split_whitespace();
        let mut word = || words.next().ok_or("the file is too short");
        let (ticket, peer) = (word()?, word()?);
        let mut memory = Self {
            ticket: (ticket != NONE).then(|| ticket.to_owned()),
            peer: (peer != NONE).then(|| peer.parse()).transpose()?,
            run: word()?.parse()?,
            successes: word()?.parse()?,
            records: BTreeMap::new(),
        };
        while let Ok(user) = word() {
            let record = Record { run: word()?.parse()?, next: word()?.parse()? };
            memory.records.insert(user.to_owned(), record);
        }
        Ok(memory)
    }

    /// Replaces the file in one step, so that a killed process leaves the old one or the new one.
    pub(crate) fn save(&self, file: &Path) -> io::Result<()> {
        let ticket = self.ticket.as_deref().unwrap_or(NONE);
        let peer = self.peer.map_or(NONE.to_owned(), |peer| peer.to_string());
        let mut text = format!("{ticket}\n{peer} {} {}\n", self.run, self.successes);
        for (user, record) in &self.records {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "{user} {} {}", record.run, record.next);
        }
        let fresh = file.with_extension("new");
        fs::write(&fresh, text)?;
        fs::rename(fresh, file)
    }
}
