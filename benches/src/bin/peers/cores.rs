//! Which core runs what: the server has the first one alone, the generator the second.

use std::io;

use nucleus_net::pin_current_thread;

const SERVER: usize = 0;
const GENERATOR: usize = 1;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    apart: bool,
}

impl Cores {
    /// Keeps the calling thread, and those that it starts, on the generator's core where there are
    /// two.
    pub(crate) fn divide() -> io::Result<Self> {
        let apart = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
        if apart {
            pin_current_thread(GENERATOR)?;
        }
        Ok(Cores { apart })
    }

    /// Starts a server on its own core: a process keeps to the cores of the thread that started it.
    /// So does a thread that is started in passing, to read the server's log: it sleeps.
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
