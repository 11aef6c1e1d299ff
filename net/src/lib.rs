//! Batched UDP for the server, the load generator and the benches.
//!
//! A datagram costs microseconds of kernel time whatever it holds, so everything here exists to pay
//! that price less often: `recvmmsg` and `sendmmsg` by 64, GSO and GRO for several datagrams of one
//! peer, a classic BPF program that lets the kernel hand a datagram to the shard that owns it.
//!
//! What lives here: sockets, the [`Clock`], thread set-up and the few process figures read from the
//! kernel. What must not: any knowledge of rooms, keys or sessions. This is the only crate of the
//! workspace with `unsafe` in it; each block says why it is sound.
//!
//! A shard's loop:
//!
//! ```no_run
//! use nucleus_net::{BindOptions, Clock, RecvBatch, SendBatch, UdpSocket};
//! # fn main() -> std::io::Result<()> {
//! let clock = Clock::new();
//! let mut socket = UdpSocket::bind(&BindOptions::default())?;
//! let mut input = RecvBatch::new(false);
//! let mut output = SendBatch::new(1 << 20, 1024);
//! loop {
//!     socket.wait_readable(None, std::time::Duration::from_millis(2))?;
//!     while socket.recv(&mut input)? > 0 {
//!         input.for_each(|datagram| {
//!             output.push(datagram.remote, datagram.local, 0, datagram.data);
//!         });
//!     }
//!     let _report = socket.send(&output);
//!     output.clear();
//!     let _now = clock.now();
//! }
//! # }
//! ```
//!
//! Off Linux a plain fallback over `std::net::UdpSocket` keeps the same names; what it cannot do it
//! either skips or answers with [`std::io::ErrorKind::Unsupported`], as each item says.

#![allow(
    unsafe_code,
    reason = "the one crate that speaks to the kernel by hand; see each SAFETY note"
)]

mod clock;
mod options;
mod recv_batch;
mod send_batch;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(test, not(target_os = "linux")))]
#[cfg_attr(
    target_os = "linux",
    allow(dead_code, unreachable_pub, reason = "on Linux it is built for its tests only")
)]
mod portable;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
use portable as system;

pub use clock::{Clock, sleep_until};
pub use options::{BindOptions, SendReport, Steering};
pub use recv_batch::{GRO_BUFFER, PLAIN_BUFFER, RECV_MESSAGES, ReceivedDatagram, RecvBatch};
pub use send_batch::SendBatch;
pub use system::{
    UdpSocket, Waker, attach_steering, pin_current_thread, probe_port_free, process_cpu_seconds,
    process_rss_bytes, raise_file_limit, set_thread_nice, thread_cpu_micros,
};
