//! Assigns CPU cores: the first core to the server alone, the second to the generator.

use std::io;

use nucleus_net::pin_current_thread;

const SERVER: usize = 0;
const GENERATOR: usize = 1;

/// The assignment of cores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    apart: bool,
}

impl Cores {
    /// Pins the calling thread, and the threads that it starts, to the generator's core. Does
    /// nothing on a machine with one core.
    ///
    /// # Errors
    ///
    /// If the system does not allow it.
    pub(crate) fn divide() -> io::Result<Self> {
        let apart = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
        if apart {
            pin_current_thread(GENERATOR)?;
        }
        Ok(Cores { apart })
    }

    /// Starts a server on its own core. A process inherits the cores of the thread that starts it.
    /// The thread that reads the server's log inherits them too, but it sleeps most of the time.
    ///
    /// # Errors
    ///
    /// If the server or the pinning fails.
    pub(crate) fn start_server<T: Send, E: Send + From<io::Error>>(
        self,
        start: impl FnOnce() -> Result<T, E> + Send,
    ) -> Result<T, E> {
        if self.apart {
            pin_current_thread(SERVER)?;
        }
        let started = start();
        if self.apart {
            pin_current_thread(GENERATOR)?;
        }
        started
    }
}
