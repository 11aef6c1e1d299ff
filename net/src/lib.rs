//! Batched UDP for the server, the load generator and the benches.
//!
//! A datagram costs microseconds of kernel time, whatever its length. This crate reduces that cost:
//! `recvmmsg` and `sendmmsg` with 64 messages a call, GSO and GRO for several datagrams of one
//! peer, and a classic BPF program with which the kernel hands a datagram to the shard that owns
//! it.
//!
//! The crate contains sockets, the [`Clock`], thread set-up, and a few process figures from the
//! kernel. It does not know rooms, keys or sessions. It is the only crate of the workspace with
//! `unsafe` code; each block says why it is sound.
//!
//! The loop of a shard:
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
//! On other systems than Linux, an implementation over `std::net::UdpSocket` has the same API. On
//! Linux a socket uses it if [`BindOptions::plain`] says so. A
//! function whose feature is missing there does nothing or returns
//! [`std::io::ErrorKind::Unsupported`], as each item says.

#![allow(
    unsafe_code,
    reason = "the only crate that makes system calls itself; see each SAFETY note"
)]

mod clock;
mod options;
mod recv_batch;
mod send_batch;

#[cfg(target_os = "linux")]
mod linux;
#[cfg_attr(
    target_os = "linux",
    allow(
        dead_code,
        unreachable_pub,
        reason = "on Linux only its sockets are used, as plain ones"
    )
)]
mod portable;
#[cfg(target_os = "linux")]
mod socket;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
use portable as system;
#[cfg(not(target_os = "linux"))]
pub use portable::{UdpSocket, Waker};
#[cfg(target_os = "linux")]
pub use socket::{UdpSocket, Waker};

pub use clock::{Clock, sleep_until};
pub use options::{BindOptions, SendReport, Steering};
pub use recv_batch::{GRO_BUFFER, PLAIN_BUFFER, RECV_MESSAGES, ReceivedDatagram, RecvBatch};
pub use send_batch::SendBatch;
pub use system::{
    attach_steering, disable_gro, pin_current_thread, probe_descriptors, probe_port_free,
    process_cpu_seconds, process_rss_bytes, raise_file_limit, set_thread_nice, thread_cpu_micros,
};
