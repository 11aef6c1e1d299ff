//! A classic BPF program that chooses the socket of a `SO_REUSEPORT` group.
//!
//! Before it runs such a program the kernel pulls the UDP header off (`reuseport_select_sock`, then
//! `run_bpf_filter` in `net/core/sock_reuseport.c`): offset 0 is the first byte of the payload and
//! `len` the payload's length. An answer beyond the group makes it fall back to its hash of
//! addresses and ports. `tests/steering.rs` holds the running kernel to both.

use crate::Steering;
use std::{io, os::fd::AsFd, os::fd::AsRawFd};

/// Shortest QUIC datagram worth steering: a stateless reset (RFC 9000, section 10.3) has 21 bytes.
const SESSION_MIN: u32 = 21;

/// Shortest realtime datagram that carries a connection id.
const REALTIME_MIN: u32 = 14;

/// No group is this large, so the kernel hashes.
const HASH: u32 = u32::MAX;

/// Steers the whole group `socket` belongs to, sockets bound later included: a datagram goes to the
/// socket whose place in the order of binding is the id byte of [`Steering`] modulo `shards`.
/// Datagrams too short to have one are spread by the kernel's hash, as are those for a socket not
/// (or not yet) bound. Once a group is enough; a second call replaces the program.
///
/// # Errors
/// `InvalidInput` when `shards` is not 1-256 (one byte cannot name more); the kernel's own where
/// `socket` was bound without [`reuse_port`](crate::BindOptions::reuse_port).
pub fn attach_steering(socket: &impl AsFd, plane: Steering, shards: u32) -> io::Result<()> {
    if !(1..=256).contains(&shards) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "shards must be 1-256"));
    }
    let mut program = match plane {
        Steering::Session => session(shards),
        Steering::Realtime => realtime(shards),
    };
    attach(socket, &mut program)
}

fn session(shards: u32) -> Vec<libc::sock_filter> {
    vec![
        load_len(),
        jump(libc::BPF_JGE, SESSION_MIN, 0, 7),
        load_byte(0),
        jump(libc::BPF_JSET, 0x80, 0, 2), // the long header's bit
        load_byte(6),                     // behind first byte, version and the id's length
        code(libc::BPF_JMP | libc::BPF_JA, 1), // over the other load
        load_byte(1),
        modulo(shards),
        code(libc::BPF_RET | libc::BPF_A, 0),
        code(libc::BPF_RET | libc::BPF_K, HASH),
    ]
}

fn realtime(shards: u32) -> Vec<libc::sock_filter> {
    vec![
        load_len(),
        jump(libc::BPF_JGE, REALTIME_MIN, 0, 3),
        load_byte(1),
        modulo(shards),
        code(libc::BPF_RET | libc::BPF_A, 0),
        code(libc::BPF_RET | libc::BPF_K, HASH),
    ]
}

fn load_len() -> libc::sock_filter {
    code(libc::BPF_LD | libc::BPF_W | libc::BPF_LEN, 0)
}

fn load_byte(offset: u32) -> libc::sock_filter {
    code(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, offset)
}

fn modulo(by: u32) -> libc::sock_filter {
    code(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, by)
}

fn code(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Compares the accumulator with `k`; `jt` and `jf` instructions are left out on yes and no.
fn jump(test: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { jt, jf, ..code(libc::BPF_JMP | test | libc::BPF_K, k) }
}

fn attach(socket: &impl AsFd, program: &mut [libc::sock_filter]) -> io::Result<()> {
    let filter =
        libc::sock_fprog { len: program.len() as libc::c_ushort, filter: program.as_mut_ptr() };
    // SAFETY: `filter` and the program it points to outlive the call, which copies and checks them;
    // the length is the program's.
    super::checked(unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const filter).cast(),
            size_of_val(&filter) as libc::socklen_t,
        )
    })?;
    Ok(())
}
