//! `--network`: a preset of the simulated network, or a TOML file with the same fields.

use std::time::Duration;

use nucleus_netsim::{Conditions, Loss};
use serde::Deserialize;

/// A simulated network with its name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NetworkProfile {
    /// The name on the command line.
    pub(crate) name: String,
    /// The conditions, which are the same in both directions and on both planes.
    pub(crate) conditions: Conditions,
}

/// The content of a network file. A field that the file omits has the value of `clean`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NetworkFile {
    delay_min_ms: f64,
    delay_max_ms: f64,
    /// Share of the datagrams that is lost, 0 to 1.
    loss: f64,
    /// Mean length of a burst of losses, datagrams; 1 or less means independent losses.
    burst: f64,
    duplicate: f64,
    reorder: f64,
    bandwidth_bps: Option<u64>,
    queue_bytes: Option<usize>,
    new_address_every_s: Option<f64>,
}

impl NetworkProfile {
    /// Returns whether the network changes nothing, so that no pipe is needed.
    pub(crate) fn is_clean(&self) -> bool {
        self.conditions == Conditions::CLEAN
    }
}

impl std::str::FromStr for NetworkProfile {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let conditions = match Conditions::preset(name) {
            Some(conditions) => conditions,
            None if name.contains(['.', '/']) => read(name)?,
            None => {
                let known = Conditions::PRESETS.join(", ");
                return Err(format!("unknown network; use {known}, or the path of a TOML file"));
            }
        };
        Ok(NetworkProfile { name: name.to_owned(), conditions })
    }
}

/// Largest size of a network file, bytes.
const MAX_FILE: u64 = 64 << 10;
/// The shortest time between two address changes. No connection survives more frequent changes.
const MIN_ADDRESS_TIME: Duration = Duration::from_millis(500);

fn read(path: &str) -> Result<Conditions, String> {
    let file = std::fs::metadata(path).map_err(|e| e.to_string())?;
    if !file.is_file() || file.len() > MAX_FILE {
        return Err(format!("not a file of at most {MAX_FILE} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let file: NetworkFile = toml::from_str(&text).map_err(|e| e.to_string())?;
    file.conditions()
}

impl NetworkFile {
    fn conditions(&self) -> Result<Conditions, String> {
        let shares = [self.loss, self.duplicate, self.reorder];
        if shares.iter().any(|share| !(0.0..=1.0).contains(share)) {
            return Err("loss, duplicate and reorder must be shares from 0 to 1".into());
        }
        if self.loss >= 1.0 {
            return Err("loss must be below 1: a loss of 1 lets nothing through".into());
        }
        let span = |seconds: f64| {
            Duration::try_from_secs_f64(seconds).map_err(|e| format!("{seconds} s: {e}"))
        };
        let delay_min = span(self.delay_min_ms / 1_000.0)?;
        let delay_max = span(self.delay_max_ms / 1_000.0)?.max(delay_min);
        let loss = match self.loss {
            share if self.burst > 1.0 => Loss::bursts(share, self.burst),
            share if share > 0.0 => Loss::independent(share),
            _ => Loss::NONE,
        };
        let queue_bytes = self.queue_bytes.unwrap_or(Conditions::CLEAN.queue_bytes);
        let new_address_every = self.new_address_every_s.map(span).transpose()?;
        if new_address_every.is_some_and(|every| every < MIN_ADDRESS_TIME) {
            return Err("new_address_every_s must be at least 0.5".into());
        }
        Ok(Conditions {
            delay_min,
            delay_max,
            loss,
            duplicate: self.duplicate,
            reorder: self.reorder,
            bandwidth_bps: self.bandwidth_bps,
            queue_bytes,
            new_address_every,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_files() {
        assert!("clean".parse::<NetworkProfile>().unwrap().is_clean());
        assert!(!"wifi".parse::<NetworkProfile>().unwrap().is_clean());
        let error = "dial-up".parse::<NetworkProfile>().unwrap_err();
        assert!(error.contains("clean, wifi, lossy"), "{error}");
        assert!("/no/such.toml".parse::<NetworkProfile>().is_err());
        let conditions = |text: &str| toml::from_str::<NetworkFile>(text).unwrap().conditions();
        assert_eq!(conditions(""), Ok(Conditions::CLEAN));
        let slow = conditions("delay_min_ms = 5\ndelay_max_ms = 30\nloss = 0.01\nburst = 3");
        assert_eq!(slow, Ok(Conditions::preset("wifi").unwrap()));
        assert!(conditions("loss = 1").is_err() && conditions("new_address_every_s = 0").is_err());
        assert!("/dev/zero".parse::<NetworkProfile>().is_err());
        assert!(conditions("loss = 2").is_err() && conditions("delay_min_ms = -1").is_err());
        assert!(toml::from_str::<NetworkFile>("delay = 3").is_err());
    }
}
