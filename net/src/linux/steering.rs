//! A classic BPF program that selects the socket of a `SO_REUSEPORT` group.
//!
//! The kernel removes the UDP header before it runs such a program (`reuseport_select_sock`, then
//! `run_bpf_filter` in `net/core/sock_reuseport.c`). So offset 0 is the first byte of the payload,
//! and `len` is the payload's length. If the program returns an index beyond the group, the kernel
//! falls back to its hash of addresses and ports. `tests/steering.rs` checks both on the running
//! kernel.

use crate::Steering;
use std::{io, os::fd::AsFd, os::fd::AsRawFd};

/// Length in bytes of the shortest QUIC datagram to steer: a stateless reset (RFC 9000, section
/// 10.3).
const SESSION_MIN: u32 = 21;

/// Length in bytes of the shortest realtime datagram to steer.
const REALTIME_MIN: u32 = 14;

/// An index beyond every group, which makes the kernel use its hash.
const HASH: u32 = u32::MAX;

/// Steers the datagrams of the group to which `socket` belongs, including sockets that are bound
/// later. The index of the socket that gets a datagram is the id byte, which [`Steering`] names,
/// modulo `shards`. Sockets have indexes in the order of their binding. The kernel's hash of
/// addresses selects the socket for a datagram that is too short to have an id, and for an index
/// without a socket. One call for a group suffices; a second call replaces the program.
///
/// # Errors
/// `InvalidInput` if `shards` is not 1-256, the values of one byte; else the kernel's error, for
/// example if `socket` was bound without [`reuse_port`](crate::BindOptions::reuse_port).
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
        jump(libc::BPF_JSET, 0x80, 0, 2), // the bit of a long header
        load_byte(6),                     // behind the first byte, the version and the id's length
        code(libc::BPF_JMP | libc::BPF_JA, 1), // skip the next load
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

/// Compares the accumulator with `k`. Skips `jt` instructions if the test is true, else `jf`.
fn jump(test: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { jt, jf, ..code(libc::BPF_JMP | test | libc::BPF_K, k) }
}

fn attach(socket: &impl AsFd, program: &mut [libc::sock_filter]) -> io::Result<()> {
    let filter =
        libc::sock_fprog { len: program.len() as libc::c_ushort, filter: program.as_mut_ptr() };
    // SAFETY: `filter` and the program to which it points outlive the call, which copies and checks
    // them. The length is the program's.
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
